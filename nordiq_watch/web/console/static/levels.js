// Levels of risk, as the API names them.

/** The colour of a level: the name of a kind of badge. */
export const levelKind = (level) => ({ critical: "bad", warning: "hot", degraded: "warn", healthy: "ok" })[level] ?? "";
