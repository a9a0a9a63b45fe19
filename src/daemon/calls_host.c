/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about what the host's processors and memory do, from the kernel's books. Lodge tells of one
 * NUMA node, number 0, which is the whole host: guests are not placed on others.
 */
#include "daemon/calls.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define CPUS_MAX    16384 /* what one map of the protocol holds */
#define SYS_CPU     "/sys/devices/system/cpu/"
#define SYS_HUGE    "/sys/kernel/mm/hugepages/hugepages-%ukB/%s"
#define SYS_KSM     "/sys/kernel/mm/ksm/"
#define NS_A_SECOND 1000000000ULL

static bool refuse_node(struct rpc_call *call, int node)
{
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "there is no NUMA node %d: the whole host is told of as node 0", node);
	return false;
}

static bool number_in(const char *path, u64 *number)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) &&
	       g_ascii_string_to_unsigned(g_strchomp(text), 10, 0, G_MAXUINT64, number, NULL);
}

/* --- processors --- */

enum { CPU_USER, CPU_NICE, CPU_SYSTEM, CPU_IDLE, CPU_IOWAIT, CPU_IRQ, CPU_SOFTIRQ, CPU_FIELDS };

/* The times of processor @number, or of all, which is -1, in ticks; false: it is not online. */
static bool read_times(int number, u64 times[CPU_FIELDS])
{
	g_autofree char *name = number < 0 ? g_strdup("cpu ") : g_strdup_printf("cpu%d ", number);
	g_autofree char *text = NULL;
	const char *line;
	char *at;

	if (!g_file_get_contents("/proc/stat", &text, NULL, NULL))
		return false;
	for (line = text; line && !g_str_has_prefix(line, name); line = line ? line + 1 : NULL)
		line = strchr(line, '\n');
	if (!line)
		return false;
	at = (char *)line + strlen(name);
	for (unsigned i = 0; i < CPU_FIELDS; i++)
		times[i] = g_ascii_strtoull(at, &at, 10);
	return true;
}

static void get_cpu_stats(struct rpc_call *call, const struct rpc_node_get_cpu_stats_args *args)
{
	static const struct {
		const char *name;
		unsigned first, second, third; /* whose sum it is; CPU_FIELDS: nothing */
	} rows[] = {
		{ VIR_NODE_CPU_STATS_KERNEL, CPU_SYSTEM, CPU_IRQ, CPU_SOFTIRQ },
		{ VIR_NODE_CPU_STATS_USER, CPU_USER, CPU_NICE, CPU_FIELDS },
		{ VIR_NODE_CPU_STATS_IDLE, CPU_IDLE, CPU_FIELDS, CPU_FIELDS },
		{ VIR_NODE_CPU_STATS_IOWAIT, CPU_IOWAIT, CPU_FIELDS, CPU_FIELDS },
	};
	struct rpc_node_get_cpu_stats_ret ret = { .nparams = ARRAY_LEN(rows) };
	u64 times[CPU_FIELDS + 1] = { 0 }, tick = NS_A_SECOND / sysconf(_SC_CLK_TCK);

	if (!call_flags(call, args->flags, 0))
		return;
	if (args->cpuNum < VIR_NODE_CPU_STATS_ALL_CPUS || !read_times(args->cpuNum, times)) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "there is no processor %d",
			      args->cpuNum);
		return;
	}
	ret.params.items =
		rpc_arena_array(rpc_call_arena(call), ARRAY_LEN(rows), sizeof(*ret.params.items));
	ret.params.count = MIN((u32)MAX(args->nparams, 0), ARRAY_LEN(rows));
	for (u32 i = 0; i < ret.params.count; i++) {
		ret.params.items[i].field = (char *)rows[i].name;
		ret.params.items[i].value =
			(times[rows[i].first] + times[rows[i].second] + times[rows[i].third]) *
			tick;
	}
	rpc_reply_node_get_cpu_stats(call, &ret);
}

/* Sets the bits of a list as the kernel writes it, "0-3,5", in @map; how many those are. */
static u32 read_list(const char *text, u8 *map)
{
	u32 count = 0;

	while (*text) {
		char *end;
		u64 first = g_ascii_strtoull(text, &end, 10), last = first;

		if (end == text)
			break;
		if (*end == '-')
			last = g_ascii_strtoull(end + 1, &end, 10);
		for (u64 i = first; i <= last && i < CPUS_MAX; i++, count++)
			map[i / 8] |= 1u << i % 8;
		text = *end == ',' ? end + 1 : "";
	}
	return count;
}

static void get_cpu_map(struct rpc_call *call, const struct rpc_node_get_cpu_map_args *args)
{
	struct rpc_node_get_cpu_map_ret ret = { .ret = sysconf(_SC_NPROCESSORS_CONF) };
	u8 *map = rpc_arena_alloc(rpc_call_arena(call), CPUS_MAX / 8);
	g_autofree char *text = NULL;

	if (!call_flags(call, args->flags, 0))
		return;
	if (!g_file_get_contents(SYS_CPU "online", &text, NULL, NULL))
		text = g_strdup_printf("0-%ld", sysconf(_SC_NPROCESSORS_ONLN) - 1);
	ret.ret = MIN(ret.ret, CPUS_MAX);
	ret.online = read_list(text, map);
	if (args->need_map) {
		ret.cpumap.items = map;
		ret.cpumap.count = (ret.ret + 7) / 8;
	}
	rpc_reply_node_get_cpu_map(call, &ret);
}

/* --- memory --- */

/* Of a line of /proc/meminfo, in KiB. */
static u64 meminfo(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? g_ascii_strtoull(line + strlen(name), NULL, 10) : 0;
}

static void get_memory_stats(struct rpc_call *call,
			     const struct rpc_node_get_memory_stats_args *args)
{
	static const char *const rows[][2] = {
		{ VIR_NODE_MEMORY_STATS_TOTAL, "MemTotal:" },
		{ VIR_NODE_MEMORY_STATS_FREE, "MemFree:" },
		{ VIR_NODE_MEMORY_STATS_BUFFERS, "Buffers:" },
		{ VIR_NODE_MEMORY_STATS_CACHED, "\nCached:" },
	};
	struct rpc_node_get_memory_stats_ret ret = { .nparams = ARRAY_LEN(rows) };
	g_autofree char *text = NULL;

	if (!call_flags(call, args->flags, 0))
		return;
	if (args->cellNum != VIR_NODE_MEMORY_STATS_ALL_CELLS && args->cellNum != 0) {
		refuse_node(call, args->cellNum);
		return;
	}
	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
		rpc_call_fail(call, VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU,
			      "cannot read /proc/meminfo");
		return;
	}
	ret.params.items =
		rpc_arena_array(rpc_call_arena(call), ARRAY_LEN(rows), sizeof(*ret.params.items));
	ret.params.count = MIN((u32)MAX(args->nparams, 0), ARRAY_LEN(rows));
	for (u32 i = 0; i < ret.params.count; i++) {
		ret.params.items[i].field = (char *)rows[i][0];
		ret.params.items[i].value = meminfo(text, rows[i][1]);
	}
	rpc_reply_node_get_memory_stats(call, &ret);
}

static u64 free_bytes(void)
{
	struct sysinfo host;

	sysinfo(&host);
	return (u64)host.freeram * host.mem_unit;
}

static void get_free_memory(struct rpc_call *call)
{
	const struct rpc_node_get_free_memory_ret ret = { .freeMem = free_bytes() };

	rpc_reply_node_get_free_memory(call, &ret);
}

static void get_cells_free_memory(struct rpc_call *call,
				  const struct rpc_node_get_cells_free_memory_args *args)
{
	struct rpc_node_get_cells_free_memory_ret ret = { .cells.count = args->maxcells > 0 };
	u64 bytes = free_bytes();

	if (args->startCell) {
		refuse_node(call, args->startCell);
		return;
	}
	ret.cells.items = &bytes;
	rpc_reply_node_get_cells_free_memory(call, &ret);
}

/* Free pages of @kib each; false: the host has none of that size. */
static bool free_pages(u32 kib, u64 *count)
{
	g_autofree char *path = g_strdup_printf(SYS_HUGE, kib, "free_hugepages");

	if (kib * KIB != (u64)sysconf(_SC_PAGESIZE))
		return number_in(path, count);
	*count = free_bytes() / sysconf(_SC_PAGESIZE);
	return true;
}

static void get_free_pages(struct rpc_call *call, const struct rpc_node_get_free_pages_args *args)
{
	struct rpc_node_get_free_pages_ret ret = { 0 };

	if (!call_flags(call, args->flags, 0))
		return;
	if ((args->startCell && args->startCell != -1) || args->cellCount != 1) {
		refuse_node(call, args->startCell ? args->startCell : 1);
		return;
	}
	ret.counts.items = rpc_arena_array(rpc_call_arena(call), args->pages.count, sizeof(u64));
	ret.counts.count = args->pages.count;
	for (u32 i = 0; i < args->pages.count; i++) {
		if (free_pages(args->pages.items[i], &ret.counts.items[i]))
			continue;
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU,
			      "the host has no pages of %u KiB", args->pages.items[i]);
		return;
	}
	rpc_reply_node_get_free_pages(call, &ret);
}

/* What the kernel's sharing of equal pages is set to and does, where it can do that. */
static void get_memory_parameters(struct rpc_call *call,
				  const struct rpc_node_get_memory_parameters_args *args)
{
	static const struct {
		const char *name, *file;
		int type;
	} rows[] = {
		{ VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, "pages_to_scan", VIR_TYPED_PARAM_UINT },
		{ VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS, "sleep_millisecs", VIR_TYPED_PARAM_UINT },
		{ VIR_NODE_MEMORY_SHARED_PAGES_SHARED, "pages_shared", VIR_TYPED_PARAM_ULLONG },
		{ VIR_NODE_MEMORY_SHARED_PAGES_SHARING, "pages_sharing", VIR_TYPED_PARAM_ULLONG },
		{ VIR_NODE_MEMORY_SHARED_PAGES_UNSHARED, "pages_unshared", VIR_TYPED_PARAM_ULLONG },
		{ VIR_NODE_MEMORY_SHARED_PAGES_VOLATILE, "pages_volatile", VIR_TYPED_PARAM_ULLONG },
		{ VIR_NODE_MEMORY_SHARED_FULL_SCANS, "full_scans", VIR_TYPED_PARAM_ULLONG },
	};
	struct rpc_node_get_memory_parameters_ret ret = { .nparams = ARRAY_LEN(rows) };
	u32 wanted = MAX(args->nparams, 0);

	if (!call_flags(call, args->flags, VIR_TYPED_PARAM_STRING_OKAY))
		return;
	ret.params.items =
		rpc_arena_array(rpc_call_arena(call), ARRAY_LEN(rows), sizeof(*ret.params.items));
	for (u32 i = 0; i < ARRAY_LEN(rows) && ret.params.count < wanted; i++) {
		struct rpc_typed_param *param = &ret.params.items[ret.params.count];
		g_autofree char *path = g_strconcat(SYS_KSM, rows[i].file, NULL);
		u64 value;

		if (!number_in(path, &value))
			continue;
		param->field = (char *)rows[i].name;
		param->value.type = rows[i].type;
		if (rows[i].type == VIR_TYPED_PARAM_UINT)
			param->value.ui = value;
		else
			param->value.ul = value;
		ret.params.count++;
	}
	if (wanted)
		ret.nparams = ret.params.count;
	rpc_reply_node_get_memory_parameters(call, &ret);
}

/* --- setting pages apart: the kernel may have to move others for it, and that takes its time ---
 */

struct allocation {
	struct rpc_call *call;
	const struct rpc_node_alloc_pages_args *args; /* the call's */
	GError *error;
};

static bool set_pages(unsigned kib, u64 count, bool set, GError **error)
{
	g_autofree char *path = g_strdup_printf(SYS_HUGE, kib, "nr_hugepages");
	u64 before, wanted, now;
	FILE *file;
	bool good;

	if (!number_in(path, &before))
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "the host has no pages of %u KiB that could be set apart",
				     kib);
	wanted = set ? count : before + count;
	file = fopen(path, "we");
	good = file && fprintf(file, "%" G_GUINT64_FORMAT, wanted) > 0;
	if (file && fclose(file))
		good = false;
	if (!good)
		return daemon_refuse(error, VIR_ERR_SYSTEM_ERROR, "cannot write %s: %s", path,
				     g_strerror(errno));
	return (number_in(path, &now) && now >= wanted) ||
	       daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			     "the host has set %" G_GUINT64_FORMAT " pages of %u KiB apart, and "
			     "no more for want of memory in one piece",
			     now, kib);
}

static void allocate(GTask *task, void *source, void *data, GCancellable *cancellable)
{
	struct allocation *allocation = data;
	const struct rpc_node_alloc_pages_args *args = allocation->args;

	for (u32 i = 0; i < args->pageSizes.count && !allocation->error; i++)
		set_pages(args->pageSizes.items[i], args->pageCounts.items[i],
			  args->flags & VIR_NODE_ALLOC_PAGES_SET, &allocation->error);
	g_task_return_boolean(task, true);
}

static void allocated(GObject *source, GAsyncResult *result, void *opaque)
{
	struct allocation *allocation = opaque;
	const struct rpc_node_alloc_pages_ret ret = { allocation->args->pageSizes.count };

	if (allocation->error)
		fail_call(allocation->call, allocation->error);
	else
		rpc_reply_node_alloc_pages(allocation->call, &ret);
	g_free(allocation);
}

/* It is the host's memory: of who lodged belongs to, and of root. */
static void alloc_pages(struct rpc_call *call, const struct rpc_node_alloc_pages_args *args)
{
	bool whole = args->startCell == -1 || (args->startCell == 0 && args->cellCount == 1);
	struct allocation *allocation;
	GTask *task;

	if (!call_flags(call, args->flags, VIR_NODE_ALLOC_PAGES_SET))
		return;
	if (!whole) {
		refuse_node(call, args->startCell ? args->startCell : (int)args->cellCount - 1);
		return;
	}
	if (!args->pageSizes.count || args->pageSizes.count != args->pageCounts.count) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "each size of pages has a number of them");
		return;
	}
	if (call_authority(call)) {
		rpc_call_fail(
			call, VIR_ERR_OPERATION_DENIED, VIR_FROM_QEMU,
			"the host's memory is set apart by root alone, and who lodged runs as");
		return;
	}
	allocation = g_new0(struct allocation, 1);
	allocation->call = call;
	allocation->args = args;
	task = g_task_new(NULL, NULL, allocated, allocation);
	g_task_set_task_data(task, allocation, NULL);
	g_task_run_in_thread(task, allocate);
	g_object_unref(task);
}

const struct rpc_handlers calls_host = {
	.node_alloc_pages = alloc_pages,
	.node_get_cpu_stats = get_cpu_stats,
	.node_get_cpu_map = get_cpu_map,
	.node_get_memory_stats = get_memory_stats,
	.node_get_free_memory = get_free_memory,
	.node_get_cells_free_memory = get_cells_free_memory,
	.node_get_free_pages = get_free_pages,
	.node_get_memory_parameters = get_memory_parameters,
};
