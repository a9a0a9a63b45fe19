/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's cgroup. See cgroup.h. */
#include "daemon/cgroup.h"

#include "daemon/daemon.h"
#include "rpc_constants.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEFAULT_WEIGHT 100
#define DEFAULT_PERIOD 100000
#define WEIGHT_MAX     10000
#define BFQ_WEIGHT_MAX 1000
#define QUOTA_MIN      1000

/* --- files --- */

static bool fail(GError **error, const char *group, const char *file, const char *text)
{
	if (errno == ENOENT)
		return daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
				     "%s has no %s: its controller is not there; enable it in the "
				     "cgroup.subtree_control of the groups above, or leave that "
				     "limit out",
				     group, file);
	return daemon_refuse(error, VIR_ERR_OPERATION_FAILED, "cannot write '%s' to %s/%s: %s",
			     text, group, file, g_strerror(errno));
}

static bool put(const char *group, const char *file, const char *text)
{
	g_autofree char *path = g_build_filename(group, file, NULL);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
	bool good;
	int number;

	if (fd < 0)
		return false;
	good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	number = errno;
	close(fd);
	errno = number;
	return good;
}

static char *get(const char *group, const char *file)
{
	g_autofree char *path = g_build_filename(group, file, NULL);
	char *text = NULL;

	g_file_get_contents(path, &text, NULL, NULL);
	return text;
}

/* @named: somebody has asked for it, and is not content without. */
static bool set(const char *group, const char *file, bool named, const char *text, GError **error)
{
	return put(group, file, text) || (!named && errno == ENOENT) ||
	       fail(error, group, file, text);
}

static bool put_pid(const char *group, const char *file, pid_t pid)
{
	char text[16];

	g_snprintf(text, sizeof(text), "%d", pid);
	return put(group, file, text);
}

/* --- groups --- */

/* Field 5 of mountinfo, proc(5), of the first mount of version 2. */
static char *mount_point(void)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], " ", 7);

		if (strstr(lines[i], " - cgroup2 ") && g_strv_length(fields) == 7)
			return g_strcompress(fields[4]);
	}
	return NULL;
}

char *cgroup_of(pid_t pid)
{
	g_autofree char *file = g_strdup_printf("/proc/%d/cgroup", pid);
	g_autofree char *mount = mount_point(), *text = NULL;
	const char *line;

	if (!mount || !g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	line = g_str_has_prefix(text, "0::") ? text : strstr(text, "\n0::");
	if (!line)
		return NULL;
	line = strstr(line, "0::") + 3;
	*strchrnul(line, '\n') = '\0';
	return g_build_filename(mount, line, NULL);
}

/* Each by itself: one that is not there must not keep the others away. */
static void enable(const char *group)
{
	put(group, "cgroup.subtree_control", "+cpu");
	put(group, "cgroup.subtree_control", "+memory");
	put(group, "cgroup.subtree_control", "+io");
}

bool cgroup_open_parent(const char *folder, GError **error)
{
	g_autofree char *controllers = NULL, *above = g_path_get_dirname(folder);

	if (mkdir(folder, 0755) && errno != EEXIST)
		return daemon_refuse(error, 0, "cannot make the cgroup %s: %s", folder,
				     g_strerror(errno));
	controllers = get(folder, "cgroup.controllers");
	if (!controllers)
		return daemon_refuse(error, 0,
				     "%s is no cgroup of version 2; name a folder of such a file "
				     "system, as /sys/fs/cgroup/lodge",
				     folder);
	enable(above);
	enable(folder);
	return true;
}

static bool make(const char *group, GError **error)
{
	return !mkdir(group, 0755) || errno == EEXIST ||
	       daemon_refuse(error, VIR_ERR_OPERATION_FAILED, "cannot make the cgroup %s: %s",
			     group, g_strerror(errno));
}

bool cgroup_enter(const char *group, const pid_t *pids, unsigned count, GError **error)
{
	g_autofree char *above = g_path_get_dirname(group);

	if (!make(group, error))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!put_pid(group, "cgroup.procs", pids[i]) && errno != ESRCH)
			return daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
					     "cannot move process %d to the cgroup %s: %s", pids[i],
					     group, g_strerror(errno));
	enable(above);
	return true;
}

pid_t *cgroup_processes(const char *group, unsigned *count)
{
	g_autofree char *text = get(group, "cgroup.procs");
	g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
	pid_t *pids = g_new0(pid_t, g_strv_length(lines) + 1);

	*count = 0;
	for (unsigned i = 0; lines[i]; i++)
		if (*lines[i])
			pids[(*count)++] = atoi(lines[i]);
	return pids;
}

void cgroup_remove(const char *group)
{
	GDir *dir = g_dir_open(group, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(group, name, NULL);

		if (g_str_has_prefix(name, "vcpu") || !strcmp(name, "emulator"))
			rmdir(path);
	}
	if (dir)
		g_dir_close(dir);
	rmdir(group);
}

/* --- the whole guest --- */

/* Nobody's wish is the weight that everybody has. */
static int kernel_weight(s64 weight)
{
	return weight ? (int)MIN(weight, WEIGHT_MAX) : DEFAULT_WEIGHT;
}

static bool set_cpu_weight(const char *group, s64 weight, GError **error)
{
	g_autofree char *text = g_strdup_printf("%d", kernel_weight(weight));

	return set(group, "cpu.weight", weight, text, error);
}

/* "max" where there is no quota. */
static bool set_bandwidth(const char *group, s64 period, s64 quota, GError **error)
{
	g_autofree char *text = NULL;

	period = period ? period : DEFAULT_PERIOD;
	text = quota > 0 ? g_strdup_printf("%" G_GINT64_FORMAT " %" G_GINT64_FORMAT,
					   MAX(quota, QUOTA_MIN), period)
			 : g_strdup_printf("max %" G_GINT64_FORMAT, period);
	return set(group, "cpu.max", quota > 0, text, error);
}

static bool set_memory(const char *group, const char *file, s64 kib, bool named, GError **error)
{
	g_autofree char *text =
		named ? g_strdup_printf("%" G_GINT64_FORMAT, kib * (s64)KIB) : g_strdup("max");

	return set(group, file, named, text, error);
}

/* libvirt's limit counts memory and swap together, the kernel's swap alone. */
static bool limit_memory(const char *group, const s64 *amounts, GError **error)
{
	s64 hard = amounts[LIMIT_MEMORY_HARD], soft = amounts[LIMIT_MEMORY_SOFT];
	s64 swap = amounts[LIMIT_SWAP_HARD];

	return set_memory(group, "memory.high", soft, soft, error) &&
	       set_memory(group, "memory.swap.max", swap - hard, swap, error) &&
	       set_memory(group, "memory.max", hard, hard, error);
}

/*
 * The weight of @who, "default" or a device's number. The host's I/O scheduler decides which of the
 * two files counts, for a device which of them takes it: it is in both where both are. BFQ's
 * weights end at a tenth of the others'; 100 is what everybody has in either.
 */
static bool set_io_weight(const char *group, const char *who, s64 weight, GError **error)
{
	int number = kernel_weight(weight), above = MAX(number - DEFAULT_WEIGHT, 0);
	int scaled = number - above +
		     above * (BFQ_WEIGHT_MAX - DEFAULT_WEIGHT) / (WEIGHT_MAX - DEFAULT_WEIGHT);
	g_autofree char *text = g_strdup_printf("%s %d", who, number);
	g_autofree char *bfq = g_strdup_printf("%s %d", who, scaled);
	bool taken = put(group, "io.bfq.weight", bfq);

	return put(group, "io.weight", text) || taken || (!weight && errno == ENOENT) ||
	       fail(error, group, "io.weight", text);
}

/* --- its devices --- */

/* "MAJOR:MINOR" of a block device; NULL with @error set. The caller frees it. */
static char *device_number(const char *path, GError **error)
{
	struct stat st;

	/* one answer for both: who asks may not know which files there are */
	if (!stat(path, &st) && S_ISBLK(st.st_mode))
		return g_strdup_printf("%u:%u", major(st.st_rdev), minor(st.st_rdev));
	daemon_refuse(error, VIR_ERR_INVALID_ARG,
		      "%s is not a block device of the host, which is what can be limited", path);
	return NULL;
}

static void append_amount(GString *text, const char *key, u64 amount)
{
	if (amount)
		g_string_append_printf(text, " %s=%" G_GUINT64_FORMAT, key, amount);
	else
		g_string_append_printf(text, " %s=max", key);
}

static char *device_maxima(const char *number, const u64 *amounts)
{
	GString *text = g_string_new(number);

	append_amount(text, "rbps", amounts[IO_LIMIT_READ_BYTES]);
	append_amount(text, "wbps", amounts[IO_LIMIT_WRITE_BYTES]);
	append_amount(text, "riops", amounts[IO_LIMIT_READ_IOPS]);
	append_amount(text, "wiops", amounts[IO_LIMIT_WRITE_IOPS]);
	return g_string_free(text, FALSE);
}

/* Takes back what was set for devices: of what is still named, it is set again next. */
static void clear_devices(const char *group, const char *file, const char *nothing)
{
	g_autofree char *text = get(group, file);
	g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		size_t digits = strspn(lines[i], "0123456789:");

		if (digits && strchr(lines[i], ':')) {
			g_autofree char *line =
				g_strdup_printf("%.*s %s", (int)digits, lines[i], nothing);

			put(group, file, line);
		}
	}
}

static bool limit_device(const char *group, const struct domain_io_device *device, GError **error)
{
	g_autofree char *number = device_number(device->path, error), *maxima = NULL;
	u64 weight = device->amounts[IO_LIMIT_WEIGHT];
	bool any = false;

	if (!number)
		return false;
	for (unsigned i = IO_LIMIT_READ_IOPS; i < DOMAIN_IO_LIMITS; i++)
		any |= device->amounts[i] != 0;
	maxima = device_maxima(number, device->amounts);
	if (any && !set(group, "io.max", true, maxima, error))
		return false;
	return !weight || set_io_weight(group, number, weight, error);
}

bool cgroup_limit(const char *group, const struct domain_limits *limits, GError **error)
{
	const s64 *amounts = limits->amounts;

	if (!set_cpu_weight(group, amounts[LIMIT_CPU_SHARES], error) ||
	    !set_bandwidth(group, amounts[LIMIT_GLOBAL_PERIOD], amounts[LIMIT_GLOBAL_QUOTA],
			   error) ||
	    !limit_memory(group, amounts, error) ||
	    !set_io_weight(group, "default", amounts[LIMIT_IO_WEIGHT], error))
		return false;
	clear_devices(group, "io.max", "rbps=max wbps=max riops=max wiops=max");
	clear_devices(group, "io.weight", "default");
	clear_devices(group, "io.bfq.weight", "default");
	for (guint i = 0; i < limits->devices->len; i++)
		if (!limit_device(group, limits->devices->pdata[i], error))
			return false;
	return true;
}

/* --- its threads --- */

static bool make_threaded(const char *group, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(group, name, NULL);
	g_autofree char *type = NULL;

	if (!make(path, error))
		return false;
	type = get(path, "cgroup.type");
	if (g_strcmp0(type ? g_strchomp(type) : NULL, "threaded") == 0)
		return true;
	return set(path, "cgroup.type", true, "threaded", error) &&
	       set(group, "cgroup.subtree_control", true, "+cpu", error);
}

/* A thread that has ended meanwhile needs no place. */
static bool move_thread(const char *path, pid_t thread, GError **error)
{
	return put_pid(path, "cgroup.threads", thread) || errno == ESRCH ||
	       daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			     "cannot move thread %d to the cgroup %s: %s", thread, path,
			     g_strerror(errno));
}

static bool is_vcpu(pid_t thread, const pid_t *vcpus, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (vcpus[i] == thread)
			return true;
	return false;
}

static bool move_others_of(const char *path, pid_t pid, const pid_t *vcpus, unsigned count,
			   GError **error)
{
	g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);
	GDir *dir = g_dir_open(tasks, 0, NULL);
	const char *name;
	bool good = true;

	while (good && dir && (name = g_dir_read_name(dir)))
		if (!is_vcpu(atoi(name), vcpus, count))
			good = move_thread(path, atoi(name), error);
	if (dir)
		g_dir_close(dir);
	return good;
}

/* All threads of the guest's processes that are no processors. */
static bool move_others(const char *group, const char *path, const pid_t *vcpus, unsigned count,
			GError **error)
{
	unsigned processes;
	g_autofree pid_t *pids = cgroup_processes(group, &processes);

	for (unsigned i = 0; i < processes; i++)
		if (!move_others_of(path, pids[i], vcpus, count, error))
			return false;
	return true;
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

static bool limit_vcpu(const char *group, const s64 *amounts, unsigned number, pid_t thread,
		       GError **error)
{
	g_autofree char *name = g_strdup_printf("vcpu%u", number);
	g_autofree char *path = g_build_filename(group, name, NULL);

	if (amounts[LIMIT_VCPU_QUOTA] <= 0 && !is_there(path))
		return true;
	return make_threaded(group, name, error) &&
	       set_bandwidth(path, amounts[LIMIT_VCPU_PERIOD], amounts[LIMIT_VCPU_QUOTA], error) &&
	       (!thread || move_thread(path, thread, error));
}

bool cgroup_limit_threads(const char *group, const struct domain_limits *limits, const pid_t *vcpus,
			  unsigned count, GError **error)
{
	const s64 *amounts = limits->amounts;
	g_autofree char *others = g_build_filename(group, "emulator", NULL);

	for (unsigned i = 0; i < count; i++)
		if (!limit_vcpu(group, amounts, i, vcpus[i], error))
			return false;
	if (amounts[LIMIT_EMULATOR_QUOTA] <= 0 && !is_there(others))
		return true;
	return make_threaded(group, "emulator", error) &&
	       set_bandwidth(others, amounts[LIMIT_EMULATOR_PERIOD], amounts[LIMIT_EMULATOR_QUOTA],
			     error) &&
	       move_others(group, others, vcpus, count, error);
}
