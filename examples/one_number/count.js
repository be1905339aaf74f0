// Adds 1 to the number in a file, many times, beside count.sh and count.py.
//
// node count.js FILE [HOW_MANY]
"use strict";
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");

// Does the work while a command holds the lock: one that says when it runs, and ends when its stdin does, be it by our death.
async function withLock(name, work) {
  const command = ["sh", "-c", "echo locked; exec cat >/dev/null"];
  const holder = spawn("interlock", ["run", name, "--", ...command], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(holder, "close");
  const [said] = await Promise.race([once(holder.stdout, "data"), ended]);
  if (!Buffer.isBuffer(said)) throw new Error(`interlock run ended with status ${said}`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}

async function main(file, many = "40") {
  for (let left = Number(many); left > 0; left--) {
    await withLock("one-number", () => {
      const number = fs.existsSync(file) ? Number(fs.readFileSync(file, "utf8")) : 0;
      fs.writeFileSync(file, `${number + 1}\n`);
    });
  }
  console.log(`node added ${many}`);
}

main(...process.argv.slice(2));
