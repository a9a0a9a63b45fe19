/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about what guests use: the host's books tell of their processors and memory, the page that
 * each guest's process publishes of its disks and network cards (base/statistics.h). No guest is
 * asked, so none that hangs holds up the answer. What a guest publishes may be any numbers.
 */
#include "base/statistics.h"
#include "daemon/calls.h"
#include "daemon/files.h"
#include "daemon/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_COUNT (-1) /* what the protocol says where nothing is counted */

/* False, and the call has been failed: it does not run, or its counters cannot be read. */
static bool read_counters(struct rpc_call *call, const struct guest *guest,
			  struct statistics *counters)
{
	if (!guest_is_active(guest))
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
	else if (!guest->driver->counters(guest, counters))
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU,
			      "domain '%s' publishes no statistics", guest->name);
	else
		return true;
	return false;
}

/* --- disks --- */

/* The disk of that target or file; -1: there is none. */
static int find_disk(const struct domain *domain, const char *name)
{
	for (guint i = 0; i < domain->disks->len; i++) {
		const struct domain_disk *disk = domain->disks->pdata[i];

		if (!strcmp(disk->target, name) || !g_strcmp0(disk->path, name))
			return i;
	}
	return -1;
}

static bool refuse_disk(struct rpc_call *call, const struct guest *guest, const char *name)
{
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "invalid path '%s' not assigned to domain '%s'", name, guest->name);
	return false;
}

static void add_disk(struct statistics_disk *sum, const struct statistics_disk *disk)
{
	u64 *to = (u64 *)sum;
	const u64 *from = (const u64 *)disk;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(u64); i++)
		to[i] += from[i];
}

/* What the disk @path did, or all together if that is empty. False: the call has been failed. */
static bool count_disk(struct rpc_call *call, const struct rpc_domain *dom, const char *path,
		       struct statistics_disk *sum)
{
	const struct guest *guest = call_guest(call, dom);
	struct statistics counters;
	guint count;
	int one;

	if (!guest || !read_counters(call, guest, &counters))
		return false;
	*sum = (struct statistics_disk){ 0 };
	count = guest->live->disks->len;
	one = *path ? find_disk(guest->live, path) : 0;
	for (guint i = 0; i < count; i++)
		if (!*path || (int)i == one)
			add_disk(sum, &counters.disks[i]);
	statistics_clear(&counters);
	return one >= 0 || refuse_disk(call, guest, path);
}

static void block_stats(struct rpc_call *call, const struct rpc_domain_block_stats_args *args)
{
	struct rpc_domain_block_stats_ret ret;
	struct statistics_disk disk;

	if (!count_disk(call, &args->dom, args->path, &disk))
		return;
	ret.rd_req = disk.read_requests;
	ret.rd_bytes = disk.read_bytes;
	ret.wr_req = disk.write_requests;
	ret.wr_bytes = disk.write_bytes;
	ret.errs = NO_COUNT; /* they are not the guest's, as clients take them to be */
	rpc_reply_domain_block_stats(call, &ret);
}

static void block_stats_flags(struct rpc_call *call,
			      const struct rpc_domain_block_stats_flags_args *args)
{
	static const struct {
		const char *name;
		size_t offset;
	} rows[] = {
#define ROW(name_, member_) { name_, offsetof(struct statistics_disk, member_) }
		ROW(VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, write_bytes),
		ROW(VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, write_requests),
		ROW(VIR_DOMAIN_BLOCK_STATS_READ_BYTES, read_bytes),
		ROW(VIR_DOMAIN_BLOCK_STATS_READ_REQ, read_requests),
		ROW(VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, flush_requests),
		ROW(VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES, write_ns),
		ROW(VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES, read_ns),
		ROW(VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES, flush_ns),
#undef ROW
	};
	struct rpc_domain_block_stats_flags_ret ret = { .nparams = ARRAY_LEN(rows) };
	struct statistics_disk disk;

	if (!call_flags(call, args->flags, VIR_TYPED_PARAM_STRING_OKAY) ||
	    !count_disk(call, &args->dom, args->path, &disk))
		return;
	ret.params.items =
		rpc_arena_array(rpc_call_arena(call), ARRAY_LEN(rows), sizeof(*ret.params.items));
	ret.params.count = MIN((u32)MAX(args->nparams, 0), ARRAY_LEN(rows));
	for (u32 i = 0; i < ret.params.count; i++) {
		ret.params.items[i].field = (char *)rows[i].name;
		ret.params.items[i].value.type = VIR_TYPED_PARAM_LLONG;
		ret.params.items[i].value.l = *(const u64 *)((const u8 *)&disk + rows[i].offset);
	}
	rpc_reply_domain_block_stats_flags(call, &ret);
}

/* Looking at a disk's file takes as long as the disk likes: not on the main loop. */
struct look {
	struct rpc_call *call;
	char *path;
	int fd;                  /* of it; -1: it is opened */
	struct formats *formats; /* NULL: it is raw, whatever its guest has written there */
	u64 capacity, physical, allocated;
	GError *error;
};

static void look_at_device(struct look *look)
{
	int fd = open(look->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	if (end < 0)
		g_set_error(&look->error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR,
			    "cannot look at %s: %s", look->path, g_strerror(errno));
	else
		look->capacity = look->physical = look->allocated = end;
	if (fd >= 0)
		close(fd);
}

/* A client's, which is raw. */
static void look_at_passed(struct look *look)
{
	struct stat st;
	off_t end = lseek(look->fd, 0, SEEK_END);

	if (end < 0 || fstat(look->fd, &st)) {
		g_set_error(&look->error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR,
			    "cannot look at the descriptor: %s", g_strerror(errno));
		return;
	}
	look->capacity = look->physical = end;
	look->allocated = S_ISBLK(st.st_mode) ? (u64)end : (u64)st.st_blocks * 512;
}

static void look_at_disk(GTask *task, void *source, void *data, GCancellable *cancellable)
{
	struct look *look = data;
	g_autofree char *folder = g_path_get_dirname(look->path);
	g_autofree char *name = g_path_get_basename(look->path);
	struct volume *volume;
	struct stat st;

	if (look->fd >= 0) {
		look_at_passed(look);
	} else if (!stat(look->path, &st) && S_ISBLK(st.st_mode)) {
		look_at_device(look);
	} else if ((volume = storage_look(look->formats, folder, name, &look->error))) {
		look->capacity = volume->capacity;
		look->physical = volume->length;
		look->allocated = volume->allocated;
		volume_free(volume);
	}
	g_task_return_boolean(task, true);
}

static void on_look(GObject *source, GAsyncResult *result, void *opaque)
{
	struct look *look = opaque;
	const struct rpc_domain_get_block_info_ret ret = { .allocation = look->allocated,
							   .capacity = look->capacity,
							   .physical = look->physical };

	if (look->error)
		fail_call(look->call, look->error);
	else
		rpc_reply_domain_get_block_info(look->call, &ret);
	if (look->fd >= 0)
		close(look->fd);
	g_free(look->path);
	g_free(look);
}

static int copy_passed(const struct guest *guest, const struct domain_disk *disk)
{
	int fd = files_first(guest, disk->fd_group);

	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void get_block_info(struct rpc_call *call, const struct rpc_domain_get_block_info_args *args)
{
	const struct domain_disk *disk;
	const struct guest *guest;
	struct look *look;
	GTask *task;
	int number, fd = -1;

	if (!call_flags(call, args->flags, 0) || !(guest = call_guest(call, &args->dom)))
		return;
	/* lodged looks with its own authority: only at what was opened with the definer's */
	if (!guest_is_active(guest) && define_whose(guest, call_authority(call))) {
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
		return;
	}
	number = find_disk(guest_domain(guest), args->path);
	if (number < 0) {
		refuse_disk(call, guest, args->path);
		return;
	}
	disk = guest_domain(guest)->disks->pdata[number];
	if (!disk->path) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "disk '%s' of domain '%s' has no file", disk->target, guest->name);
		return;
	}
	/* what a disk that was passed has for a path nobody has opened */
	if (disk->fd_group && (fd = copy_passed(guest, disk)) < 0) {
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "disk '%s' of domain '%s' was passed as a descriptor, which whoever "
			      "passed it has taken back: its size is not known",
			      disk->target, guest->name);
		return;
	}
	look = g_new0(struct look, 1);
	look->fd = fd;
	look->call = call;
	look->path = g_strdup(disk->path);
	look->formats = disk->raw ? NULL : guest->daemon->formats;
	task = g_task_new(NULL, NULL, on_look, look);
	g_task_set_task_data(task, look, NULL);
	g_task_run_in_thread(task, look_at_disk);
	g_object_unref(task);
}

static void get_disk_errors(struct rpc_call *call,
			    const struct rpc_domain_get_disk_errors_args *args)
{
	const struct guest *guest;
	struct rpc_domain_get_disk_errors_ret ret = { 0 };
	struct rpc_domain_disk_error error;

	if (!call_flags(call, args->flags, 0) || !(guest = call_guest(call, &args->dom)))
		return;
	if (!guest_is_active(guest)) {
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
		return;
	}
	ret.nerrors = guest->failed_disk != NULL;
	if (guest->failed_disk && args->maxerrors) {
		error.disk = rpc_arena_strdup(rpc_call_arena(call), guest->failed_disk);
		error.error = guest->failed_space ? VIR_DOMAIN_DISK_ERROR_NO_SPACE
						  : VIR_DOMAIN_DISK_ERROR_UNSPEC;
		ret.errors.items = &error;
		ret.errors.count = 1;
	}
	rpc_reply_domain_get_disk_errors(call, &ret);
}

/* --- network cards --- */

/* By what the live XML calls it, or by its MAC address; -1: there is none. */
static int find_net(const struct domain *domain, const char *name)
{
	for (guint i = 0; i < domain->interfaces->len; i++) {
		const struct domain_interface *net = domain->interfaces->pdata[i];

		if (!g_strcmp0(net->target, name) || !g_ascii_strcasecmp(net->mac, name))
			return i;
	}
	return -1;
}

static void interface_stats(struct rpc_call *call,
			    const struct rpc_domain_interface_stats_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_interface_stats_ret ret = { .rx_errs = 0, .tx_errs = 0 };
	const struct statistics_net *net;
	struct statistics counters;
	int number;

	if (!guest || !read_counters(call, guest, &counters))
		return;
	number = find_net(guest->live, args->device);
	if (number < 0) {
		statistics_clear(&counters);
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "invalid path, '%s' is not a known interface", args->device);
		return;
	}
	net = &counters.nets[number];
	ret.rx_bytes = net->rx_bytes;
	ret.rx_packets = net->rx_frames;
	ret.rx_drop = net->rx_dropped;
	ret.tx_bytes = net->tx_bytes;
	ret.tx_packets = net->tx_frames;
	ret.tx_drop = net->tx_dropped;
	statistics_clear(&counters);
	rpc_reply_domain_interface_stats(call, &ret);
}

/* --- processors and memory --- */

static bool read_usage(struct rpc_call *call, const struct guest *guest,
		       struct guest_statistics *usage)
{
	if (guest_is_active(guest) && guest->driver->statistics(guest, usage))
		return true;
	rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
		      "Requested operation is not valid: domain '%s' is not running", guest->name);
	return false;
}

static void memory_stats(struct rpc_call *call, const struct rpc_domain_memory_stats_args *args)
{
	struct rpc_domain_memory_stats_ret ret;
	struct rpc_domain_memory_stat stats[2];
	struct guest_statistics usage;
	const struct guest *guest;

	if (!call_flags(call, args->flags, 0) || !(guest = call_guest(call, &args->dom)) ||
	    !read_usage(call, guest, &usage))
		return;
	stats[0].tag = VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON;
	stats[0].val = guest->live->current_kib;
	stats[1].tag = VIR_DOMAIN_MEMORY_STAT_RSS;
	stats[1].val = usage.rss_kib;
	ret.stats.items = stats;
	ret.stats.count = MIN(args->maxStats, ARRAY_LEN(stats));
	rpc_reply_domain_memory_stats(call, &ret);
}

static void get_vcpus(struct rpc_call *call, const struct rpc_domain_get_vcpus_args *args)
{
	struct rpc_domain_get_vcpus_ret ret = { 0 };
	struct guest_statistics usage;
	size_t map_bytes = MAX(args->maplen, 0);
	const struct guest *guest;
	u32 count;

	if (!(guest = call_guest(call, &args->dom)) || !read_usage(call, guest, &usage))
		return;
	count = MIN((u32)MAX(args->maxinfo, 0), guest->live->vcpus_current);
	ret.info.items = rpc_arena_array(rpc_call_arena(call), count, sizeof(*ret.info.items));
	ret.cpumaps.items = rpc_arena_array(rpc_call_arena(call), count, map_bytes);
	if ((count && !ret.info.items) || (count && map_bytes && !ret.cpumaps.items)) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "the maps of processors are too large");
		return;
	}
	for (u32 i = 0; i < count; i++) {
		struct rpc_vcpu_info *info = &ret.info.items[i];
		struct guest_vcpu vcpu = { 0 };

		guest->driver->vcpu(guest, i, &vcpu, ret.cpumaps.items + i * map_bytes, map_bytes);
		info->number = i;
		info->state = vcpu.known ? VIR_VCPU_RUNNING : VIR_VCPU_OFFLINE;
		info->cpu_time = vcpu.cpu_ns;
		info->cpu = vcpu.known ? vcpu.host_cpu : VIR_VCPU_INFO_CPU_UNAVAILABLE;
	}
	ret.info.count = count;
	ret.cpumaps.count = count * map_bytes;
	rpc_reply_domain_get_vcpus(call, &ret);
}

/* The kernel counts what a group of processes used of each processor only where there is a group;
 * in total it always does. */
static void get_cpu_stats(struct rpc_call *call, const struct rpc_domain_get_cpu_stats_args *args)
{
	struct rpc_domain_get_cpu_stats_ret ret = { .nparams = 3 };
	struct rpc_typed_param params[3] = { { .field = (char *)VIR_DOMAIN_CPU_STATS_CPUTIME },
					     { .field = (char *)VIR_DOMAIN_CPU_STATS_USERTIME },
					     { .field = (char *)VIR_DOMAIN_CPU_STATS_SYSTEMTIME } };
	struct guest_statistics usage;
	const struct guest *guest;

	if (!call_flags(call, args->flags, VIR_TYPED_PARAM_STRING_OKAY) ||
	    !(guest = call_guest(call, &args->dom)) || !read_usage(call, guest, &usage))
		return;
	if (args->start_cpu != -1) {
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "what guests use of each processor is not counted in this version; "
			      "--total is");
		return;
	}
	for (u32 i = 0; i < ARRAY_LEN(params); i++)
		params[i].value.type = VIR_TYPED_PARAM_ULLONG;
	params[0].value.ul = usage.cpu_ns;
	params[1].value.ul = usage.user_ns;
	params[2].value.ul = usage.system_ns;
	ret.params.items = params;
	ret.params.count = MIN(args->nparams, ARRAY_LEN(params));
	rpc_reply_domain_get_cpu_stats(call, &ret);
}

/* --- all of it, of many --- */

#define STATISTICS                                                                        \
	(VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | \
	 VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)
#define OF_GUEST 12 /* parameters of a guest, at most; of each of its parts */
#define OF_VCPU  3
#define OF_NET   9
#define OF_DISK  13

/* A record that grows, and where its strings are. */
struct record {
	struct rpc_arena *arena;
	struct rpc_domain_stats_record *out;
	u32 room;
	struct rpc_typed_param spare; /* for what finds no room */
};

static struct rpc_typed_param *add(struct record *record, int type, const char *fmt, ...)
	G_GNUC_PRINTF(3, 4);

static struct rpc_typed_param *add(struct record *record, int type, const char *fmt, ...)
{
	struct rpc_typed_param *param = &record->spare;
	char name[64];
	va_list args;

	if (record->out->params.count < record->room)
		param = &record->out->params.items[record->out->params.count++];
	va_start(args, fmt);
	g_vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	param->field = rpc_arena_strdup(record->arena, name);
	param->value.type = type;
	return param;
}

static void add_number(struct record *record, const char *prefix, guint number, const char *suffix,
		       u64 value)
{
	add(record, VIR_TYPED_PARAM_ULLONG, "%s%u%s", prefix, number, suffix)->value.ul = value;
}

static void add_text(struct record *record, const char *prefix, guint number, const char *suffix,
		     const char *text)
{
	char *copy = rpc_arena_strdup(record->arena, text);

	add(record, VIR_TYPED_PARAM_STRING, "%s%u%s", prefix, number, suffix)->value.s = copy;
}

static void add_vcpus(struct record *record, const struct guest *guest)
{
	const struct domain *domain = guest_domain(guest);
	struct guest_vcpu vcpu = { 0 };

	add(record, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_STATS_VCPU_CURRENT)->value.ui =
		domain->vcpus_current;
	add(record, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_STATS_VCPU_MAXIMUM)->value.ui = domain->vcpus;
	for (guint i = 0; guest_is_active(guest) && i < domain->vcpus_current; i++) {
		if (!guest->driver->vcpu(guest, i, &vcpu, NULL, 0))
			continue;
		add(record, VIR_TYPED_PARAM_INT, "%s%u%s", VIR_DOMAIN_STATS_VCPU_PREFIX, i,
		    VIR_DOMAIN_STATS_VCPU_SUFFIX_STATE)
			->value.i = VIR_VCPU_RUNNING;
		add_number(record, VIR_DOMAIN_STATS_VCPU_PREFIX, i,
			   VIR_DOMAIN_STATS_VCPU_SUFFIX_TIME, vcpu.cpu_ns);
		add_number(record, VIR_DOMAIN_STATS_VCPU_PREFIX, i,
			   VIR_DOMAIN_STATS_VCPU_SUFFIX_DELAY, vcpu.wait_ns);
	}
}

static void add_nets(struct record *record, const struct guest *guest,
		     const struct statistics *counters)
{
	const char *prefix = VIR_DOMAIN_STATS_NET_PREFIX;
	const GPtrArray *nets = guest->live->interfaces;

	add(record, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_STATS_NET_COUNT)->value.ui = nets->len;
	for (guint i = 0; i < nets->len; i++) {
		const struct domain_interface *interface = nets->pdata[i];
		const struct statistics_net *net = &counters->nets[i];

		add_text(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_NAME,
			 interface->target ? interface->target : interface->mac);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_RX_BYTES, net->rx_bytes);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_RX_PKTS, net->rx_frames);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_RX_ERRS, 0);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_RX_DROP, net->rx_dropped);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_TX_BYTES, net->tx_bytes);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_TX_PKTS, net->tx_frames);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_TX_ERRS, 0);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_NET_SUFFIX_TX_DROP, net->tx_dropped);
	}
}

static void add_disks(struct record *record, const struct guest *guest,
		      const struct statistics *counters)
{
	const char *prefix = VIR_DOMAIN_STATS_BLOCK_PREFIX;
	const GPtrArray *disks = guest->live->disks;

	add(record, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_STATS_BLOCK_COUNT)->value.ui = disks->len;
	for (guint i = 0; i < disks->len; i++) {
		const struct domain_disk *disk = disks->pdata[i];
		const struct statistics_disk *d = &counters->disks[i];

		add_text(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_NAME, disk->target);
		if (disk->path)
			add_text(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_PATH, disk->path);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_RD_REQS,
			   d->read_requests);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_RD_BYTES,
			   d->read_bytes);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_RD_TIMES, d->read_ns);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_WR_REQS,
			   d->write_requests);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_WR_BYTES,
			   d->write_bytes);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_WR_TIMES, d->write_ns);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_FL_REQS,
			   d->flush_requests);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_FL_TIMES, d->flush_ns);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_ERRORS, d->failures);
		add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_CAPACITY, d->capacity);
		if (d->allocated)
			add_number(record, prefix, i, VIR_DOMAIN_STATS_BLOCK_SUFFIX_ALLOCATION,
				   d->allocated);
	}
}

static void add_usage(struct record *record, const struct guest *guest, u32 stats)
{
	const struct domain *domain = guest_domain(guest);
	struct guest_statistics usage;
	bool known = guest->driver->statistics(guest, &usage);

	if ((stats & VIR_DOMAIN_STATS_CPU_TOTAL) && known) {
		add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_CPU_TIME)->value.ul =
			usage.cpu_ns;
		add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_CPU_USER)->value.ul =
			usage.user_ns;
		add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_CPU_SYSTEM)->value.ul =
			usage.system_ns;
	}
	if (!(stats & VIR_DOMAIN_STATS_BALLOON))
		return;
	if (guest_is_active(guest))
		add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_BALLOON_CURRENT)->value.ul =
			domain->current_kib;
	add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_BALLOON_MAXIMUM)->value.ul =
		domain->memory_kib;
	if (known)
		add(record, VIR_TYPED_PARAM_ULLONG, VIR_DOMAIN_STATS_BALLOON_RSS)->value.ul =
			usage.rss_kib;
}

static void fill_record(struct record *record, const struct guest *guest, u32 stats)
{
	struct statistics counters = { 0 };

	if (stats & VIR_DOMAIN_STATS_STATE) {
		add(record, VIR_TYPED_PARAM_INT, VIR_DOMAIN_STATS_STATE_STATE)->value.i =
			guest->state;
		add(record, VIR_TYPED_PARAM_INT, VIR_DOMAIN_STATS_STATE_REASON)->value.i =
			guest->reason;
	}
	if (stats & (VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON))
		add_usage(record, guest, stats);
	if (stats & VIR_DOMAIN_STATS_VCPU)
		add_vcpus(record, guest);
	if (!(stats & (VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)) ||
	    !guest_is_active(guest) || !guest->driver->counters(guest, &counters))
		return;
	if (stats & VIR_DOMAIN_STATS_INTERFACE)
		add_nets(record, guest, &counters);
	if (stats & VIR_DOMAIN_STATS_BLOCK)
		add_disks(record, guest, &counters);
	statistics_clear(&counters);
}

static bool make_record(struct rpc_call *call, struct rpc_domain_stats_record *out,
			const struct guest *guest, u32 stats)
{
	const struct domain *domain = guest_domain(guest);
	struct record record = { .arena = rpc_call_arena(call), .out = out };

	record.room = OF_GUEST + OF_VCPU * domain->vcpus + OF_NET * domain->interfaces->len +
		      OF_DISK * domain->disks->len;
	out->dom = call_domain(call, guest);
	out->params.items = rpc_arena_array(record.arena, record.room, sizeof(*out->params.items));
	if (!out->params.items)
		return false;
	fill_record(&record, guest, stats);
	return true;
}

/* The guests that are asked about; those that have gone are left out. The caller unrefs them. */
static GPtrArray *wanted(const struct rpc_call *call,
			 const struct rpc_connect_get_all_domain_stats_args *args)
{
	const struct daemon *daemon = rpc_call_opaque(call);
	GPtrArray *found;

	if (!args->doms.count)
		return call_matching(daemon, args->flags);
	found = g_ptr_array_new();
	for (u32 i = 0; i < args->doms.count; i++) {
		struct guest *guest = guests_find_uuid(daemon->guests, args->doms.items[i].uuid);

		if (guest && call_filter(guest, args->flags))
			g_ptr_array_add(found, guest);
	}
	return found;
}

static void get_all_stats(struct rpc_call *call,
			  const struct rpc_connect_get_all_domain_stats_args *args)
{
	struct rpc_arena *arena = rpc_call_arena(call);
	struct rpc_connect_get_all_domain_stats_ret ret = { 0 };
	u32 stats = args->stats ? args->stats : STATISTICS;
	GPtrArray *found;

	if ((stats & ~STATISTICS) &&
	    (args->flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)) {
		rpc_call_fail(call, VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_FROM_QEMU,
			      "statistics 0x%x are not supported in this version",
			      stats & ~STATISTICS);
		return;
	}
	found = wanted(call, args);
	ret.retStats.items = rpc_arena_array(arena, found->len, sizeof(*ret.retStats.items));
	for (u32 i = 0; ret.retStats.items && i < found->len; i++) {
		if (!make_record(call, &ret.retStats.items[i], found->pdata[i], stats))
			break;
		ret.retStats.count++;
	}
	g_ptr_array_unref(found);
	rpc_reply_connect_get_all_domain_stats(call, &ret);
}

const struct rpc_handlers calls_stats = {
	.domain_block_stats = block_stats,
	.domain_block_stats_flags = block_stats_flags,
	.domain_get_block_info = get_block_info,
	.domain_get_disk_errors = get_disk_errors,
	.domain_interface_stats = interface_stats,
	.domain_memory_stats = memory_stats,
	.domain_get_vcpus = get_vcpus,
	.domain_get_cpu_stats = get_cpu_stats,
	.connect_get_all_domain_stats = get_all_stats,
};
