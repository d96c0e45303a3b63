// How user names and ids of roles compare.

/** The block of fullwidth and halfwidth forms, and the ideographic space. */
const WIDE = /[\uff01-\uffee\u3000]/g;
/** What an id of a role is in lower case. */
const ROLE_ID = /^[a-z0-9._:-]{1,64}$/;

/**
 * The form in which user names compare, that of the column `user_name_key`.
 *
 * Rollcall compares them by the profile UsernameCaseMapped (RFC 8265, section 3.3): fullwidth and halfwidth
 * characters as the ordinary ones, lower case, NFC. Doing it twice changes nothing.
 */
export function userNameKey(text: string): string {
  return text
    .replace(WIDE, (wide) => wide.normalize("NFKC"))
    .toLowerCase()
    .normalize("NFC");
}

/**
 * The form in which a value of a user's `roles` compares with ids of roles: NFKC, case folding, NFKC.
 *
 * It is the id in lower case. `null` if no role can have this id, so that the value grants nothing.
 */
export function roleIdKey(value: string): string | null {
  // Case folding differs from lower case in other letters than ß too, but no id of a role has those.
  const folded = value.normalize("NFKC").toLowerCase().replaceAll("ß", "ss");
  const key = folded.normalize("NFKC");
  return ROLE_ID.test(key) ? key : null;
}
