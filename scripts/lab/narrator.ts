import { styleText } from "node:util";

/** Prints numbered steps: what happens in plain words, the command lines, their results. */
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

/** A check of the demo: throws with these words if it fails. */
export function assertThat(condition: boolean, words: string): asserts condition {
  if (!condition) throw new Error(words);
}
