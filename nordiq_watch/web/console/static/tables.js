// The daemon's own tables (web/console/tables.py), which every page carries: nothing of them is repeated in scripts.

export const tables = JSON.parse(document.body.dataset.tables);
