/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's books about a guest's process. See books.h. */
#include "daemon/books.h"

#include "base/number_set.h"
#include "rpc_constants.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What stands behind the name in a file like /proc/PID/stat, which the caller frees. */
static char *stat_fields(const char *path)
{
	g_autofree char *text = NULL;
	char *end;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(end = strrchr(text, ')')))
		return NULL;
	return g_strdup(end + 1);
}

bool books_process(pid_t pid, struct guest_statistics *out)
{
	unsigned long long user, system, rss;
	g_autofree char *path = NULL, *text = NULL;
	u64 tick_ns = 1000000000ull / sysconf(_SC_CLK_TCK);

	path = g_strdup_printf("/proc/%d/stat", pid);
	text = stat_fields(path);
	if (!text || sscanf(text,
			    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
			    "%*d %*d %*d %*u %*u %llu",
			    &user, &system, &rss) != 3)
		return false;
	out->user_ns = user * tick_ns;
	out->system_ns = system * tick_ns;
	out->cpu_ns = out->user_ns + out->system_ns;
	out->rss_kib = rss * (sysconf(_SC_PAGESIZE) / KIB);
	return true;
}

/* Threads of processors have names (src/machine/vcpu.c); a process that lies about them lies about
 * itself alone. */
void books_find_vcpus(pid_t pid, pid_t *threads, unsigned count)
{
	g_autofree char *directory = g_strdup_printf("/proc/%d/task", pid);
	GDir *dir = g_dir_open(directory, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(directory, entry, "comm", NULL);
		g_autofree char *name = NULL;
		unsigned number;

		if (g_file_get_contents(path, &name, NULL, NULL) &&
		    sscanf(name, "vcpu%u", &number) == 1 && number < count)
			threads[number] = atoi(entry);
	}
	if (dir)
		g_dir_close(dir);
}

void books_affinity(pid_t thread, u8 *map, size_t map_bytes)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(thread, sizeof(set), &set))
		return;
	for (size_t i = 0; i < MIN(map_bytes * 8, CPU_SETSIZE); i++)
		if (CPU_ISSET(i, &set))
			map[i / 8] |= 1u << i % 8;
}

bool books_pin(pid_t thread, const struct number_set *cpus)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < MIN(NUMBER_SET_MAX, CPU_SETSIZE); i++)
		if (number_set_has(cpus, i))
			CPU_SET(i, &set);
	return !sched_setaffinity(thread, sizeof(set), &set);
}

/* A thread that has ended meanwhile needs no place. */
bool books_pin_others(pid_t pid, const struct number_set *cpus)
{
	g_autofree char *directory = g_strdup_printf("/proc/%d/task", pid);
	GDir *dir = g_dir_open(directory, 0, NULL);
	const char *entry;
	bool good = dir;

	while (good && (entry = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(directory, entry, "comm", NULL);
		g_autofree char *name = NULL;
		unsigned number;

		if (g_file_get_contents(path, &name, NULL, NULL) &&
		    sscanf(name, "vcpu%u", &number) != 1)
			good = books_pin(atoi(entry), cpus) || errno == ESRCH;
	}
	if (dir)
		g_dir_close(dir);
	else
		errno = ESRCH;
	return good;
}

bool books_vcpu(pid_t pid, pid_t thread, struct guest_vcpu *out, u8 *map, size_t map_bytes)
{
	g_autofree char *path = NULL, *books = NULL, *text = NULL, *fields = NULL;
	unsigned long long cpu, wait;

	path = g_strdup_printf("/proc/%d/task/%d/schedstat", pid, thread);
	if (!g_file_get_contents(path, &text, NULL, NULL) ||
	    sscanf(text, "%llu %llu", &cpu, &wait) != 2)
		return false;
	out->known = true;
	out->cpu_ns = cpu;
	out->wait_ns = wait;
	if (!map_bytes)
		return true;
	books_affinity(thread, map, map_bytes);
	books = g_strdup_printf("/proc/%d/task/%d/stat", pid, thread);
	fields = stat_fields(books);
	/* the 39th field of proc(5); the third stands first here */
	if (!fields || sscanf(fields,
			      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			      "%*d %*d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u "
			      "%*u %*u %*u %*d %d",
			      &out->host_cpu) != 1)
		out->host_cpu = VIR_VCPU_INFO_CPU_UNAVAILABLE;
	return true;
}
