// Sizes and durations as people write them.
#ifndef EGIDA_COMMON_SIZE_H
#define EGIDA_COMMON_SIZE_H

#include <stddef.h>
#include <stdint.h>

/// Parse a size: digits with an optional fraction, then B, K, M, G, T or P (powers of 1024; also "KB", "KiB", any
/// case); no unit = bytes. "512M", "1.5G". EGD_ERR_INVALID (also for what exceeds 64 bits), *ret_bytes untouched then.
int egd_size_parse(const char *text, uint64_t *ret_bytes);
/// Parse a duration: digits with an optional fraction, then ns, us, ms, s, m or min, h, d; units add up: "1h30m". No
/// unit = seconds. EGD_ERR_INVALID, *ret_ns untouched then.
int egd_duration_parse(const char *text, uint64_t *ret_ns);

#define EGD_SIZE_TEXT 16
/// Three digits that matter: "0", "999", "1.46K", "12.0M", "512M". Returns `text`, which holds EGD_SIZE_TEXT bytes.
char *egd_size_format(uint64_t bytes, char text[EGD_SIZE_TEXT]);
/// "0", "870ns", "12.0us", "210ms", "1.25s", "2m05s", "3h07m", "4d02h". Returns `text`.
char *egd_duration_format(uint64_t ns, char text[EGD_SIZE_TEXT]);

#endif
