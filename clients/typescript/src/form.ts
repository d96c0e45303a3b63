// Checks what comes from outside: whether a value has the members that the client reads.

import { UnexpectedAnswer } from "./errors.js";

/**
 * The form of a value. A list has the form of its elements, and an object the forms of its members. A member with `?` at
 * its end may be absent or null.
 */
export type Form = "a text" | "a whole number" | "true or false" | readonly [Form] | OrNull | Members;

/** The forms of the members of an object. Members that are not named are not looked at. */
export interface Members {
  readonly [name: string]: Form;
}

/** A value that may be null. */
export class OrNull {
  constructor(readonly form: Form) {}
}

/** The form of an answer, or of an object in one. */
export class Answer<T> {
  constructor(readonly members: Members) {}

  /**
   * Answers the value.
   *
   * @param place where the value is
   * @throws UnexpectedAnswer if the value has another form
   */
  read(value: unknown, place = ""): T {
    check(value, this.members, place);
    return value as T;
  }
}

/**
 * Reads JSON.
 *
 * @throws UnexpectedAnswer if it is none. This error does not have the one of `JSON.parse`, which quotes the text.
 */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UnexpectedAnswer(text === "" ? "it is empty" : "it is not JSON");
  }
}

/** @throws UnexpectedAnswer if a value has another form. The error names the place, and no value. */
function check(value: unknown, form: Form, place: string): void {
  if (form instanceof OrNull) {
    if (value !== null) check(value, form.form, place);
  } else if (typeof form === "string") {
    if (kindOf(value) !== form) throw wrong(value, form, place);
  } else if (isList(form)) {
    if (!Array.isArray(value)) throw wrong(value, "a list", place);
    for (const [index, element] of value.entries()) check(element, form[0], `${place}[${index}]`);
  } else {
    if (kindOf(value) !== "an object") throw wrong(value, "an object", place);
    checkMembers(value as Record<string, unknown>, form, place);
  }
}

function checkMembers(value: Record<string, unknown>, members: Members, place: string): void {
  for (const [key, form] of Object.entries(members)) {
    const name = key.replace(/\?$/, "");
    const inside = place === "" ? name : `${place}.${name}`;
    const isAbsent = !Object.hasOwn(value, name);
    if (name !== key && (isAbsent || value[name] === null)) continue;
    if (isAbsent) throw new UnexpectedAnswer(`${inside} is missing`);
    check(value[name], form, inside);
  }
}

function wrong(value: unknown, form: string, place: string): UnexpectedAnswer {
  const found = kindOf(value) === "a whole number" ? "a number" : kindOf(value);
  return new UnexpectedAnswer(`${place || "it"} is ${found}, not ${form}`);
}

function isList(form: readonly [Form] | Members): form is readonly [Form] {
  return Array.isArray(form);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "string":
      return "a text";
    case "boolean":
      return "true or false";
    case "number":
      return Number.isSafeInteger(value) ? "a whole number" : "a number";
    default:
      return "an object";
  }
}
