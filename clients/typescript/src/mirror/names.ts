// How user names compare.

/** The block of fullwidth and halfwidth forms, and the ideographic space. */
const WIDE = /[\uff01-\uffee\u3000]/g;

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
