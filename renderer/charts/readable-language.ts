/**
 * Imported before uPlot, which makes a number format of the browser's language as it loads. Where the system's locale
 * is POSIX, Chromium may name it `en-US@posix`; that is no language tag, and the whole page would stay blank.
 */
if (!isLanguageTag(navigator.language)) {
  Object.defineProperty(navigator, 'language', { value: 'en', configurable: true });
}

function isLanguageTag(text: string): boolean {
  try {
    return Intl.getCanonicalLocales(text).length > 0;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
