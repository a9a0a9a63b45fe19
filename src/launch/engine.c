/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which engine runs the guest's processors, and the reason, which is said at every start. The
 * domain's type is what the guest is; the engine is how it runs this time. /dev/kvm is tried each
 * time (kvm.c): that it worked an hour ago says nothing.
 */
#include "launch/private.h"

#include <string.h>

static bool one_of(const char *word, const char *a, const char *b, const char *c)
{
	return !strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c);
}

static bool refuse(GError **error, const char *format, const char *what)
{
	g_autofree char *text = g_strdup_printf(format, what);

	g_set_error_literal(error, LAUNCH_ERROR, LAUNCH_ERROR_ENGINE, text);
	return false;
}

/* What only the software CPU does, or NULL. */
static const char *soft_alone(const struct launch_options *options)
{
	return options->cpu_step           ? "--cpu-step"
	       : options->cpu_check_blocks ? "--cpu-check-blocks"
	       : options->perf_map         ? "--perf-map"
	       : options->jitdump          ? "--jitdump"
					   : NULL;
}

static bool choose_soft(struct launch *launch, char *why)
{
	launch->engine = g_strdup("soft");
	launch->engine_why = why;
	return true;
}

/* Without KVM: --engine kvm and kvm_absent=refuse end here. */
static bool without_kvm(struct launch *launch, const char *wanted, const char *absent, char *why,
			GError **error)
{
	bool good = false;

	if (!strcmp(wanted, "kvm"))
		refuse(error, "%s; --engine auto runs the guest without it", why);
	else if (!strcmp(absent, "refuse"))
		refuse(error, "%s; the guest shall not run without it (--kvm-absent refuse)", why);
	else
		good = choose_soft(launch, g_strdup(why));
	g_free(why);
	return good;
}

bool engine_choose(struct launch *launch, const char *wanted, const char *absent, GError **error)
{
	const char *alone = soft_alone(&launch->private->options);
	char *why;
	int kvm;

	wanted = wanted ? wanted : "auto";
	absent = absent ? absent : "soft";
	if (!one_of(wanted, "auto", "kvm", "soft"))
		return refuse(error, "'%s' is not an engine; use auto, kvm or soft", wanted);
	if (!one_of(absent, "soft", "refuse", "soft"))
		return refuse(error, "'%s' is not what to do without KVM; use soft or refuse",
			      absent);
	if (!strcmp(wanted, "soft"))
		return choose_soft(launch, g_strdup("asked for"));
	if (alone && !strcmp(wanted, "kvm"))
		return refuse(error, "%s looks into the software CPU; use --engine soft", alone);
	if (alone)
		return choose_soft(launch, g_strdup_printf("%s looks into it", alone));
	kvm = kvm_open(&why);
	if (kvm < 0)
		return without_kvm(launch, wanted, absent, why, error);
	launch->engine = g_strdup("kvm");
	launch->engine_why = g_strdup(!strcmp(wanted, "kvm") ? "asked for" : "/dev/kvm works");
	launch->private->kvm = fd_map_add(&launch->private->map, kvm);
	return true;
}
