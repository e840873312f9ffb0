// Levels of risk, as the daemon names them.

import { tables } from "./tables.js";

const KINDS = ["ok", "warn", "hot", "bad"]; // of badges and colours, for the calmest level first

/** The worst first. */
export const LEVELS = [...tables.levels].reverse();

/** The colour of a level: the name of a kind of badge; "" for no level. */
export const levelKind = (level) => KINDS[tables.levels.indexOf(level)] ?? "";
