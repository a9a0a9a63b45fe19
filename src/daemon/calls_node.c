/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host is made of. */
#include "daemon/calls.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

struct cpus {
	unsigned online, mhz, sockets, cores, threads;
};

/* The number behind @key in a line of /proc/cpuinfo, or @otherwise. */
static unsigned number_of(const char *line, const char *key, unsigned otherwise)
{
	const char *colon = strchr(line, ':');
	double value;

	if (!colon || strncmp(line, key, strlen(key)) || sscanf(colon + 1, "%lf", &value) != 1)
		return otherwise;
	return value;
}

/* A host whose parts do not multiply to what is online is told of as one socket. */
static struct cpus count_cpus(void)
{
	struct cpus cpus = { .online = sysconf(_SC_NPROCESSORS_ONLN) };
	unsigned last_socket = 0, siblings = 0;
	char *text = NULL, **lines;

	if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
		lines = g_strsplit(text, "\n", -1);
		for (char **line = lines; *line; line++) {
			cpus.mhz = number_of(*line, "cpu MHz", cpus.mhz);
			last_socket = MAX(last_socket, number_of(*line, "physical id", 0));
			siblings = number_of(*line, "siblings", siblings);
			cpus.cores = number_of(*line, "cpu cores", cpus.cores);
		}
		g_strfreev(lines);
		g_free(text);
	}
	cpus.sockets = last_socket + 1;
	cpus.threads = cpus.cores ? siblings / cpus.cores : 0;
	if (cpus.sockets * cpus.cores * cpus.threads != cpus.online) {
		cpus.sockets = cpus.threads = 1;
		cpus.cores = cpus.online;
	}
	return cpus;
}

static void get_info(struct rpc_call *call)
{
	struct rpc_node_get_info_ret ret = { .model = "x86_64", .nodes = 1 };
	struct cpus cpus = count_cpus();
	struct sysinfo host;

	sysinfo(&host);
	ret.memory = (u64)host.totalram * host.mem_unit / KIB;
	ret.cpus = cpus.online;
	ret.mhz = cpus.mhz;
	ret.sockets = cpus.sockets;
	ret.cores = cpus.cores;
	ret.threads = cpus.threads;
	rpc_reply_node_get_info(call, &ret);
}

const struct rpc_handlers calls_node = {
	.node_get_info = get_info,
};
