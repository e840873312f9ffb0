import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";

import { load } from "./browser.js";

const { agentCommand, quote } = await load("commands.js");

const NAMES = [
  "ppdb001", "web-01.example.org", "two words", "it's", "''", "'; rm -rf ~; echo '", "$(id)", "`id`", "$HOME", "a\\b", 'a"b', "-x", "--url=http://elsewhere",
  "a;b", "a&b", "a|b", "a>b", "*", "~root", "!history", "#comment", "{a,b}", "ümläut", "日本", "🖥", "\u00a0nbsp", "",
];

test("a shell reads a quoted word as exactly the text that it was made of", () => {
  for (const name of NAMES) {
    const said = execFileSync("/bin/sh", ["-c", `printf '%s|' --name=${quote(name)}`], { encoding: "utf8" });
    assert.equal(said, `--name=${name}|`);
  }
});

test("plain words stand as they are", () => {
  assert.equal(agentCommand("http://127.0.0.1:8000", "ppdb001"), "nordiq-watch agent --url=http://127.0.0.1:8000 --name=ppdb001");
  assert.equal(agentCommand("http://127.0.0.1:8000"), "nordiq-watch agent --url=http://127.0.0.1:8000");
});

test("a text with characters that cannot be seen is in no command", () => {
  for (const unseen of ["a\nb", "a\rb", "\x1b[2J", "\x00", "a\tb", "\x7f", "\x9b", "a\u2028b", "a\u2029b", "\u202egpj", "\u200b", "\ufeff", "\ud800"]) {
    assert.equal(quote(unseen), null);
    assert.equal(agentCommand("http://127.0.0.1:8000", `name${unseen}`), null);
  }
});
