import { styleText } from "node:util";

/** Tells a story in numbered steps: what happens in plain words, the command lines, what came of them. */
export class Narrator {
  readonly #print: (line: string) => void;
  #step = 0;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  step(words: string): void {
    this.#print(`${this.#step === 0 ? "" : "\n"}${styleText("bold", `${++this.#step}. ${words}`)}`);
  }

  /** A command line that is run, as a person would type it. */
  command(line: string): void {
    this.#print(`   ${styleText("cyan", `$ ${line}`)}`);
  }

  note(words: string): void {
    for (const line of words.trimEnd().split("\n")) this.#print(`   ${line}`);
  }
}

/** A promise of the demo: when it is not kept, the demo ends with these words. */
export function promise(kept: boolean, words: string): asserts kept {
  if (!kept) throw new Error(words);
}
