/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last error of each thread. See lodge/error.h. */
#include "private.h"

#include <string.h>

/* The one thing of the library that hangs off no object: that is what its users are promised. */
struct kept {
	struct lodge_error error;
	char *message;
};

static void free_kept(gpointer pointer)
{
	struct kept *kept = pointer;

	g_free(kept->message);
	g_free(kept);
}

static GPrivate of_thread = G_PRIVATE_INIT(free_kept);

/* Takes over @message. @hint and @function are constants. */
static void keep(const char *function, int code, const char *hint, char *message)
{
	struct kept *kept = g_private_get(&of_thread);

	if (!kept) {
		kept = g_new0(struct kept, 1);
		g_private_set(&of_thread, kept);
	}
	g_free(kept->message);
	kept->message = message;
	kept->error = (struct lodge_error){ code, message, hint, function };
}

LODGE_PUBLIC const struct lodge_error *lodge_last_error(void)
{
	static const struct lodge_error none = { LODGE_ERR_OK, "", NULL, "" };
	const struct kept *kept = g_private_get(&of_thread);

	return kept ? &kept->error : &none;
}

static const char *hint_for(int code)
{
	switch (code) {
	case VIR_ERR_RPC:
		return "open another connection; the daemon's log says why it ended, if it did";
	case VIR_ERR_OPERATION_DENIED:
		return "connect without LODGE_OPEN_READ_ONLY, as a user who may change things";
	case VIR_ERR_NO_SUPPORT: return "the daemon is older, or does not do this yet";
	default: return NULL;
	}
}

void error_set(const char *function, int code, const char *hint, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	keep(function, code, hint, g_strdup_vprintf(fmt, args));
	va_end(args);
}

int asked(struct asking *asking, bool good, const char *function)
{
	if (!good)
		keep(function, asking->failure.code, hint_for(asking->failure.code),
		     asking->failure.message);
	rpc_arena_clear(&asking->arena);
	return good ? 0 : -1;
}

char *asked_string(struct asking *asking, bool good, char *const *text, const char *function)
{
	char *copy = good ? strdup(*text) : NULL;

	if (good && !copy)
		error_set(function, LODGE_ERR_NO_MEMORY, NULL, "no memory for %zu bytes",
			  strlen(*text));
	asked(asking, good, function);
	return copy;
}

bool flags_none(unsigned flags, const char *function)
{
	if (flags)
		error_set(function, LODGE_ERR_INVALID_ARG, NULL, "unknown flags %#x", flags);
	return !flags;
}
