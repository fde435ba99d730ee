// Tell the service manager how the service does (sd_notify(3)).
#ifndef EGIDA_RESTARTD_NOTIFY_H
#define EGIDA_RESTARTD_NOTIFY_H

/// One assignment, e.g. "READY=1". Without a service manager nothing happens.
void egd_notify(const char *state);

#endif
