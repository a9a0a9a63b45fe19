/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What commands that ask a daemon share. They print what went wrong themselves, and end with
 *
 *   return daemon_end(connection, good);
 */
#ifndef LODGE_CLI_DAEMON_H
#define LODGE_CLI_DAEMON_H

#include "cli/command.h"

#include <lodge/lodge.h>

#define CONNECT_OPTION                                                    \
	{                                                                 \
		"--connect", VALUE_TEXT, "URI",                           \
			"the daemon: lodge:///system, lodge:///session, " \
			"lodge+unix:///?socket=PATH, a path, or "         \
			"lodge+ssh:// or lodge+tls:// and a host"         \
	}
#define VALIDATE_OPTION                                                     \
	{                                                                   \
		"--validate", VALUE_NONE, NULL,                             \
			"refuse what is not known, which is kept otherwise" \
	}
#define JSON_OPTION                                            \
	{                                                      \
		"--json", VALUE_NONE, NULL, "print it as JSON" \
	}

/* Connects where the command says, else where `lodge --connect` or $LODGE_URI says. NULL: it has
 * been said why not. */
struct lodge_connection *daemon_connect(const struct invocation *invocation, unsigned flags);
/* Says the library's last error on standard error; 1, the exit status. */
int daemon_failed(void);
/* The exit status: 0, or 1, then with the library's last error on standard error unless there is
 * no connection. Closes it. */
int daemon_end(struct lodge_connection *connection, bool good);
/* The first argument's guest, network or pool; NULL with an error for daemon_end(). */
struct lodge_domain *daemon_domain(struct lodge_connection *connection,
				   const struct invocation *invocation);
/* LODGE_DEFINE_VALIDATE, with --validate. */
unsigned daemon_define_flags(const struct invocation *invocation);
const char *argument(const struct invocation *invocation, unsigned index);
/* All of a file, or with "-" of standard input; NULL: it has been said why not. Free with g_free().
 */
char *daemon_read_file(const char *path);
/* How messages call that file. */
const char *daemon_file_name(const char *path);
/* The folder that the daemon at @uri (NULL: the usual one) was given with --root, as its socket
 * says; NULL: it has none, or is elsewhere. Free with g_free(). */
char *daemon_root(const char *uri);
/* "running"; of a number that is none, "no state". */
const char *daemon_state_name(int state);

/* --- statistics.c --- */
/* A line each, or one object. Frees @values; NULL: the library has the error. The exit status; the
 * connection is closed. */
int daemon_print_values(struct lodge_connection *connection, struct lodge_value *values, bool json);

/* --- pins.c --- */
/* "0-3,8", of a map of processors; for g_free(). */
char *daemon_map_text(const uint8_t *map, size_t bytes);

/* --- delete.c --- */
/* The guest's own disks that are volumes, as struct lodge_volume; those that are none, and those
 * that another guest has, too, are said to stay. For g_ptr_array_unref(); NULL: the library has the
 * error. */
GPtrArray *delete_find_volumes(struct lodge_connection *connection, struct lodge_domain *domain);

/* The same of those that @list names, "vda,/path", whatever else they are. NULL: the library has
 * the error, unless *@said: then it has been said what is wrong with the list. */
GPtrArray *delete_find_listed(struct lodge_connection *connection, struct lodge_domain *domain,
			      const char *list, bool *said);

/* --- definitions.c --- */
/* `create FILE.xml`: starts a guest without a definition. */
int definitions_create(const struct invocation *invocation);

/* --- streams.c --- */
/* A guest's console on this terminal, until somebody leaves it; @device and @flags as those of
 * lodge_domain_console(). False: the library has the error. */
bool console_open(struct lodge_connection *connection, struct lodge_domain *domain,
		  const char *device, unsigned flags);

/* --- daemon.c --- */
/* For completion: the names that fit, to be freed with g_ptr_array_unref(). Silent, and empty where
 * there is no daemon. */
GPtrArray *daemon_names(enum argument_kind kind);
/* The same of the daemon at @uri, or with NULL of the usual one. */
GPtrArray *daemon_names_at(const char *uri, enum argument_kind kind);

#endif
