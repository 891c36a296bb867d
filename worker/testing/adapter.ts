/** Whether tests have a graphics adapter: the software one that is set up before them, or any that is named. */
export const hasAdapter = process.env['VK_ICD_FILENAMES'] !== undefined;
