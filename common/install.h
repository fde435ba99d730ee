// Where the parts of this installation are: beside the running program in a build folder, else in the installed folders, which
// may have moved since configure (DESTDIR, an unpacked package).
#ifndef EGIDA_COMMON_INSTALL_H
#define EGIDA_COMMON_INSTALL_H

#include <limits.h>

enum egd_install_part {
  EGD_PART_AGENT,   // egida-agent
  EGD_PART_EXEC,    // egida-exec
  EGD_PART_RESTART, // egida-restart
  EGD_PART_RUNTIME, // libegida.so
  EGD_PART_STUBS,   // the folder with libucp.so.0 …
};

/// The absolute path of `part`. $EGIDA_LIBDIR, if set, is looked at first. EGD_OK or EGD_ERR_NOT_FOUND; `path` then holds
/// the installed place where it should be.
int egd_install_find(enum egd_install_part part, char path[PATH_MAX]);

/// Where the folder that was configured as `configured` is, if the running program moved together with it; else `configured`.
void egd_install_folder(const char *configured, char path[PATH_MAX]);

#endif
