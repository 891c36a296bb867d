/** One step of a database's schema. Migrations are frozen once released and import nothing from the application. */
export interface Migration {
  /** `PRAGMA user_version` after this step; 1, 2, 3 … without gaps. */
  readonly version: number;
  /** SQL statements, run in one transaction with the new version number. */
  readonly sql: string;
}
