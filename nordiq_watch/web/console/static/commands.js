// Commands that a reader copies into a shell. What stands in them may come from anywhere: an address, a server's name.

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;

/** One word of a POSIX shell, which reads it as exactly this text. Null for a text that could not be seen as it is. */
export function quote(text) {
  if (UNSEEN.test(text)) return null;
  return /^[\w.,:/@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What feeds the metrics of a host, under `name` if it is given. Null for a name that no command can show. */
export function agentCommand(url, name = null) {
  const words = ["nordiq-watch", "agent", `--url=${quote(url)}`];
  if (name !== null) {
    const word = quote(name);
    if (word === null) return null;
    words.push(`--name=${word}`);
  }
  return words.join(" ");
}
