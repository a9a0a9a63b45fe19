/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where guests' logs are. */
#ifndef LODGE_CLI_LOGS_H
#define LODGE_CLI_LOGS_H

/* The folder of the logs of the daemon at @uri (NULL: the usual one), or NULL: there is none that
 * is known. Free with g_free(). */
char *logs_folder(const char *uri);
/* The folder of those of `lodge run`. */
char *logs_own_folder(void);

#endif
