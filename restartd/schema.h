// The tables of history.db and how older ones become newer ones. docs/formats/store.md describes each column.
#ifndef EGIDA_RESTARTD_SCHEMA_H
#define EGIDA_RESTARTD_SCHEMA_H

#include <sqlite3.h>

#define EGD_SCHEMA_APPLICATION_ID 0x45474449 // "EGDI", in the file's header
#define EGD_SCHEMA_VERSION 3

/// Version of the open database: 0 = empty, > EGD_SCHEMA_VERSION = of a newer Egida, -1 = not a history of Egida.
/// Returns an SQLite result code; *ret_version is untouched unless it is SQLITE_OK.
int egd_schema_version(sqlite3 *db, int *ret_version);
/// Bring the database from whatever version to `version` (EGD_SCHEMA_VERSION; tests make older ones), in one
/// transaction. Nothing happens if it is there already. Returns an SQLite result code.
int egd_schema_migrate(sqlite3 *db, int version);

#endif
