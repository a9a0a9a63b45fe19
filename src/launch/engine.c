/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which engine runs the guest's processors, and the reason, which is said at every start. /dev/kvm
 * is probed by opening it each time: that it was there an hour ago says nothing.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KVM "/dev/kvm"

static char *why_soft(void)
{
	int fd = open(KVM, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return g_strdup_printf("cannot open " KVM ": %s", g_strerror(errno));
	close(fd);
	return g_strdup(KVM " is there, but the kvm engine is not in this version yet");
}

bool engine_choose(struct launch *launch, const char *wanted, GError **error)
{
	if (wanted && !strcmp(wanted, "kvm")) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_ENGINE,
			    "the kvm engine is not in this version yet; use --engine soft or auto");
		return false;
	}
	if (wanted && strcmp(wanted, "auto") && strcmp(wanted, "soft")) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_ENGINE,
			    "'%s' is not an engine; use auto, kvm or soft", wanted);
		return false;
	}
	launch->engine = g_strdup("soft");
	launch->engine_why = wanted && !strcmp(wanted, "soft") ? g_strdup("asked for") : why_soft();
	return true;
}
