/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing the plan by tables: one row for each member of each object. See plan.h.
 */
#include "vmm/plan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum member_kind { STRING, NUMBER, BOOLEAN, FD, OBJECT, ARRAY };

struct member {
	const char *name;
	enum member_kind kind;
	bool required;
	size_t offset; /* objects and arrays: json_t * */
	u64 min, max;  /* numbers */
};

GQuark plan_error_quark(void)
{
	return g_quark_from_static_string("lodge-plan");
}

static int fail(GError **error, const char *where, const char *name, const char *what)
{
	g_set_error(error, PLAN_ERROR, EINVAL, "plan: %s%s%s %s", where, *where ? "." : "", name,
		    what);
	return -EINVAL;
}

static int store(const struct member *m, json_t *value, void *base, const char *where,
		 GError **error)
{
	static const char *const wanted[] = {
		[STRING] = "must be a string",       [NUMBER] = "must be a whole number",
		[BOOLEAN] = "must be true or false", [FD] = "must be a descriptor number",
		[OBJECT] = "must be an object",      [ARRAY] = "must be an array",
	};
	void *to = (char *)base + m->offset;
	bool ok = false;

	switch (m->kind) {
	case STRING:
		ok = json_is_string(value) &&
		     strlen(json_string_value(value)) == json_string_length(value);
		if (ok)
			*(const char **)to = json_string_value(value);
		break;
	case NUMBER:
		ok = json_is_integer(value) && json_integer_value(value) >= 0;
		if (ok && ((u64)json_integer_value(value) < m->min ||
			   (u64)json_integer_value(value) > m->max))
			return fail(error, where, m->name, "is out of range");
		if (ok)
			*(u64 *)to = json_integer_value(value);
		break;
	case BOOLEAN:
		ok = json_is_boolean(value);
		if (ok)
			*(bool *)to = json_is_true(value);
		break;
	case FD:
		ok = json_is_integer(value) && json_integer_value(value) >= 0 &&
		     json_integer_value(value) < 1 << 20;
		if (ok)
			*(int *)to = json_integer_value(value);
		break;
	case OBJECT:
		ok = json_is_object(value);
		if (ok)
			*(json_t **)to = value;
		break;
	case ARRAY:
		ok = json_is_array(value) && json_array_size(value) <= PLAN_ITEMS_MAX;
		if (ok)
			*(json_t **)to = value;
		break;
	}
	return ok ? 0 : fail(error, where, m->name, wanted[m->kind]);
}

static const struct member *find(const struct member *members, const char *name)
{
	for (; members->name; members++)
		if (!strcmp(members->name, name))
			return members;
	return NULL;
}

/* Stores every member of @object into the struct at @base; @object NULL has no members. */
static int parse_object(json_t *object, const char *where, const struct member *members, void *base,
			GError **error)
{
	const char *name;
	json_t *value;

	json_object_foreach (object, name, value) {
		const struct member *m = find(members, name);
		int err = m ? store(m, value, base, where, error)
			    : fail(error, where, name, "is not known to this version");

		if (err)
			return err;
	}
	for (; members->name; members++)
		if (members->required && !json_object_get(object, members->name))
			return fail(error, where, members->name, "is missing");
	return 0;
}

struct sections {
	u64 version;
	json_t *engine, *memory, *vcpus, *cpu, *cpu_debug, *clock, *lifecycle, *boot, *backends,
		*devices, *monitor, *log, *statistics;
	json_t *features_off, *features_required, *pins;
	const char *numa_mode, *numa_nodes, *others;
	const char *log_level;
};

#define S(member_, kind_, required_)                                            \
	{                                                                       \
		.name = #member_, .kind = kind_, .required = required_,         \
		.offset = offsetof(struct sections, member_), .max = UINT64_MAX \
	}
#define P(name_, kind_, required_, member_)                                \
	{                                                                  \
		.name = name_, .kind = kind_, .required = required_,       \
		.offset = offsetof(struct plan, member_), .max = INT64_MAX \
	}
#define END                  \
	{                    \
		.name = NULL \
	}

static const struct member root_sections[] = {
	S(version, NUMBER, true),  S(engine, OBJECT, true),      S(memory, OBJECT, true),
	S(vcpus, OBJECT, true),    S(cpu, OBJECT, false),        S(cpu_debug, OBJECT, false),
	S(clock, OBJECT, false),   S(lifecycle, OBJECT, false),  S(boot, OBJECT, true),
	S(backends, ARRAY, false), S(devices, ARRAY, true),      S(monitor, OBJECT, false),
	S(log, OBJECT, false),     S(statistics, OBJECT, false), END,
};
static const struct member root_members[] = {
	P("name", STRING, true, name),
	P("uuid", STRING, true, uuid),
	P("machine", STRING, true, machine),
	END,
};
static const struct member engine_members[] = {
	P("name", STRING, true, engine),
	P("why", STRING, true, engine_why),
	P("fd", FD, false, kvm_fd),
	P("movable", BOOLEAN, false, movable),
	END,
};
static const struct member memory_members[] = {
	P("bytes", NUMBER, true, memory_bytes),
	P("shared", BOOLEAN, false, memory.shared),
	P("huge_page_bytes", NUMBER, false, memory.huge_page_bytes),
	P("allocated", BOOLEAN, false, memory.allocated),
	END,
};
static const struct member memory_words[] = { S(numa_mode, STRING, false),
					      S(numa_nodes, STRING, false), END };
static const struct member vcpus_lists[] = { S(pins, ARRAY, false), S(others, STRING, false), END };
static const struct member vcpus_members[] = {
	P("count", NUMBER, true, vcpus),
	P("sockets", NUMBER, true, sockets),
	P("cores", NUMBER, true, cores),
	P("threads", NUMBER, true, threads),
	END,
};
static const struct member cpu_members[] = {
	P("code_cache_bytes", NUMBER, false, code_cache_bytes),
	P("code_from", FD, false, code_from_fd),
	P("code_to", FD, false, code_to_fd),
	P("code_checked", BOOLEAN, false, code_checked),
	P("tsc_stable", BOOLEAN, false, tsc_stable),
	END,
};
static const struct member cpu_lists[] = { S(features_off, ARRAY, false),
					   S(features_required, ARRAY, false), END };
static const struct member cpu_debug_members[] = {
	P("step", BOOLEAN, false, cpu_step),
	P("check_blocks", BOOLEAN, false, cpu_check_blocks),
	P("stats", BOOLEAN, false, cpu_stats),
	P("perf_map", FD, false, perf_map_fd),
	P("jitdump", FD, false, jitdump_fd),
	P("guest_symbols", FD, false, guest_symbols_fd),
	END,
};
static const struct member clock_members[] = { P("offset", STRING, false, clock_offset), END };
static const struct member lifecycle_members[] = {
	P("poweroff", STRING, false, on_poweroff),
	P("reboot", STRING, false, on_reboot),
	P("crash", STRING, false, on_crash),
	P("watchdog", STRING, false, on_watchdog),
	END,
};
static const struct member boot_members[] = {
	P("kernel", FD, false, kernel_fd),
	P("initrd", FD, false, initrd_fd),
	P("cmdline", STRING, false, cmdline),
	P("classic", BOOLEAN, false, classic),
	P("paused", BOOLEAN, false, paused),
	P("kaslr", BOOLEAN, false, kaslr),
	P("kernel-name", STRING, false, kernel_name),
	END,
};
static const struct member monitor_members[] = { P("fd", FD, true, monitor_fd), END };
static const struct member statistics_members[] = { P("fd", FD, true, statistics_fd), END };
static const struct member log_members[] = { P("fd", FD, true, log_fd), END };
static const struct member log_level_members[] = {
	{ .name = "level", .kind = STRING, .offset = offsetof(struct sections, log_level) },
	END,
};

#define B(name_, kind_, required_, member_)                                        \
	{                                                                          \
		.name = name_, .kind = kind_, .required = required_,               \
		.offset = offsetof(struct plan_backend, member_), .max = INT64_MAX \
	}

static const struct member backend_members[] = {
	B("id", STRING, true, id),
	B("kind", STRING, true, kind),
	B("driver", STRING, true, driver),
	B("fd", FD, false, fd),
	B("fd_in", FD, false, fd_in),
	B("fd_out", FD, false, fd_out),
	B("log_fd", FD, false, log_fd),
	B("log_old_fd", FD, false, log_old_fd),
	B("log_bytes", NUMBER, false, log_bytes),
	B("readonly", BOOLEAN, false, readonly),
	B("discard", BOOLEAN, false, discard),
	B("cache", STRING, false, cache),
	END,
};

/* An object whose members go to two structs: the tables must not share a name. */
static int parse_split(json_t *object, const char *where, const struct member *a, void *base_a,
		       const struct member *b, void *base_b, GError **error)
{
	json_t *mine = json_object(), *rest = json_object();
	const char *name;
	json_t *value;
	int err;

	/* The second table first: what neither knows is reported before what is missing. */
	json_object_foreach (object, name, value)
		json_object_set(find(a, name) ? mine : rest, name, value);
	err = parse_object(rest, where, b, base_b, error);
	if (!err)
		err = parse_object(mine, where, a, base_a, error);
	json_decref(mine);
	json_decref(rest);
	return err;
}

static bool one_of(const char *value, const char *const *allowed)
{
	for (; *allowed; allowed++)
		if (!strcmp(value, *allowed))
			return true;
	return false;
}

static int parse_backends(struct plan *plan, json_t *array, GError **error)
{
	static const char *const kinds[] = { "console", "block", "net", NULL };
	static const char *const caches[] = { "writeback",  "none",   "writethrough",
					      "directsync", "unsafe", NULL };
	json_t *value;
	size_t i;

	plan->backends = g_new0(struct plan_backend, json_array_size(array) + 1);
	json_array_foreach (array, i, value) {
		struct plan_backend *b = &plan->backends[plan->backend_count++];

		*b = (struct plan_backend){ .fd = -1,
					    .fd_in = -1,
					    .fd_out = -1,
					    .log_fd = -1,
					    .log_old_fd = -1,
					    .cache = "writeback" };
		if (!json_is_object(value))
			return fail(error, "", "backends", "must hold objects");
		if (parse_object(value, "backends", backend_members, b, error))
			return -EINVAL;
		if (!one_of(b->kind, kinds))
			return fail(error, "backends", b->id, "is of an unknown kind");
		if ((b->log_fd >= 0) != (b->log_bytes > 0))
			return fail(error, "backends", b->id, "has a log_fd or log_bytes alone");
		if (!one_of(b->cache, caches))
			return fail(error, "backends", b->id, "has an unknown cache mode");
		for (unsigned j = 0; j + 1 < plan->backend_count; j++)
			if (!strcmp(plan->backends[j].id, b->id))
				return fail(error, "backends", b->id, "is there twice");
	}
	return 0;
}

static int parse_devices(struct plan *plan, json_t *array, GError **error)
{
	json_t *value;
	size_t i;

	plan->devices = g_new0(json_t *, json_array_size(array) + 1);
	json_array_foreach (array, i, value) {
		if (!json_is_string(json_object_get(value, "type")))
			return fail(error, "devices", "type", "is missing or not a string");
		if (!json_is_string(json_object_get(value, "id")))
			return fail(error, "devices", "id", "is missing or not a string");
		plan->devices[plan->device_count++] = value;
	}
	return 0;
}

static int parse_features(const char ***list, json_t *array, const char *name, GError **error)
{
	json_t *value;
	size_t i, n = 0;

	*list = g_new0(const char *, json_array_size(array) + 1);
	json_array_foreach (array, i, value) {
		if (!json_is_string(value))
			return fail(error, "cpu", name, "must hold strings");
		(*list)[n++] = json_string_value(value);
	}
	return 0;
}

static int check_words(struct plan *plan, const struct sections *s, GError **error)
{
	static const char *const actions[] = { "destroy", "restart", NULL };
	static const char *const crash_actions[] = { "destroy", "restart", "preserve", NULL };
	static const char *const watchdog_actions[] = { "reset", "shutdown",   "poweroff", "pause",
							"none",  "inject-nmi", NULL };
	static const char *const offsets[] = { "utc", "localtime", NULL };
	static const char *const levels[] = { "error", "warning", "info", "debug", NULL };

	if (!one_of(plan->on_poweroff, actions))
		return fail(error, "lifecycle", "poweroff", "must be destroy or restart");
	if (!one_of(plan->on_reboot, actions))
		return fail(error, "lifecycle", "reboot", "must be destroy or restart");
	if (!one_of(plan->on_crash, crash_actions))
		return fail(error, "lifecycle", "crash", "must be destroy, restart or preserve");
	if (!one_of(plan->on_watchdog, watchdog_actions))
		return fail(error, "lifecycle", "watchdog",
			    "must be reset, shutdown, poweroff, pause, none or inject-nmi");
	if (!one_of(plan->clock_offset, offsets))
		return fail(error, "clock", "offset", "must be utc or localtime");
	if (!one_of(s->log_level, levels))
		return fail(error, "log", "level", "must be error, warning, info or debug");
	for (unsigned i = 0; levels[i]; i++)
		if (!strcmp(levels[i], s->log_level))
			plan->log_level = i;
	return 0;
}

static int parse_memory(struct plan *plan, const struct sections *s, GError **error)
{
	static const char *const modes[] = { [NUMA_ANY] = "",
					     [NUMA_STRICT] = "strict",
					     [NUMA_PREFERRED] = "preferred",
					     [NUMA_INTERLEAVE] = "interleave" };
	struct memory_backing *memory = &plan->memory;
	u64 huge = memory->huge_page_bytes;

	if (huge && (huge <= PAGE_SIZE || huge > 16 * GIB || huge & (huge - 1)))
		return fail(error, "memory", "huge_page_bytes", "is not the size of a huge page");
	for (unsigned i = 1; s->numa_mode && i < ARRAY_LEN(modes); i++)
		if (!strcmp(s->numa_mode, modes[i]))
			memory->numa_mode = i;
	if (!s->numa_mode != !memory->numa_mode)
		return fail(error, "memory", "numa_mode",
			    "must be strict, preferred or interleave");
	if (!s->numa_mode != !s->numa_nodes)
		return fail(error, "memory", "numa_nodes",
			    "is needed with numa_mode, and only then");
	if (s->numa_nodes && !number_set_parse(s->numa_nodes, &memory->numa_nodes))
		return fail(error, "memory", "numa_nodes", "must be a set of numbers");
	return 0;
}

static int parse_pins(struct plan *plan, const struct sections *s, GError **error)
{
	json_t *value;
	size_t i;

	if (s->others && !number_set_parse(s->others, &plan->others))
		return fail(error, "vcpus", "others", "must be a set of numbers");
	if (!s->pins)
		return 0;
	if (json_array_size(s->pins) != plan->vcpus)
		return fail(error, "vcpus", "pins", "must be as many as vcpus.count");
	plan->pins = g_new0(struct number_set, plan->vcpus + 1);
	json_array_foreach (s->pins, i, value) {
		const char *text = json_string_value(value);

		if (!text || (*text && !number_set_parse(text, &plan->pins[i])))
			return fail(error, "vcpus", "pins", "must hold sets of numbers");
	}
	return 0;
}

#define CODE_CACHE_MIN (8 * MIB)
#define CODE_CACHE_MAX (1 * GIB) /* as far as a jump reaches */

static int check_perf_map(const struct plan *plan, GError **error)
{
	if (plan->perf_map_fd >= 0 && plan->perf_map_fd <= STDERR_FILENO)
		return fail(error, "cpu_debug", "perf_map", "must not be a standard stream");
	if (plan->jitdump_fd >= 0 && plan->jitdump_fd <= STDERR_FILENO)
		return fail(error, "cpu_debug", "jitdump", "must not be a standard stream");
	if (plan->guest_symbols_fd >= 0 && plan->guest_symbols_fd <= STDERR_FILENO)
		return fail(error, "cpu_debug", "guest_symbols", "must not be a standard stream");
	if (plan->guest_symbols_fd >= 0 && plan->perf_map_fd < 0 && plan->jitdump_fd < 0)
		return fail(error, "cpu_debug", "guest_symbols",
			    "is of no use without perf_map or jitdump");
	return 0;
}

static int check_engine(const struct plan *plan, GError **error)
{
	bool kvm = !strcmp(plan->engine, "kvm") || plan->movable;

	if (kvm && plan->kvm_fd < 0)
		return fail(error, "engine", "fd", "is missing: kvm needs /dev/kvm");
	if (!kvm && plan->kvm_fd >= 0)
		return fail(error, "engine", "fd", "is for kvm alone");
	if (kvm && plan->kvm_fd <= STDERR_FILENO)
		return fail(error, "engine", "fd", "must not be a standard stream");
	return 0;
}

static int check_saved_code(const struct plan *plan, GError **error)
{
	if (plan->code_from_fd >= 0 && plan->code_from_fd <= STDERR_FILENO)
		return fail(error, "cpu", "code_from", "must not be a standard stream");
	if (plan->code_to_fd >= 0 && plan->code_to_fd <= STDERR_FILENO)
		return fail(error, "cpu", "code_to", "must not be a standard stream");
	return 0;
}

static int parse_sections(struct plan *p, struct sections *s, GError **error)
{
	if (s->version != 1)
		return fail(error, "", "version", "must be 1");
	if (parse_object(s->engine, "engine", engine_members, p, error) ||
	    parse_split(s->memory, "memory", memory_members, p, memory_words, s, error) ||
	    parse_split(s->vcpus, "vcpus", vcpus_members, p, vcpus_lists, s, error) ||
	    parse_split(s->cpu, "cpu", cpu_members, p, cpu_lists, s, error) ||
	    parse_object(s->cpu_debug, "cpu_debug", cpu_debug_members, p, error) ||
	    parse_object(s->clock, "clock", clock_members, p, error) ||
	    parse_object(s->lifecycle, "lifecycle", lifecycle_members, p, error) ||
	    parse_object(s->boot, "boot", boot_members, p, error))
		return -EINVAL;
	if (parse_memory(p, s, error) || parse_pins(p, s, error))
		return -EINVAL;
	if (check_engine(p, error) || check_perf_map(p, error) || check_saved_code(p, error))
		return -EINVAL;
	if (p->code_cache_bytes &&
	    (p->code_cache_bytes < CODE_CACHE_MIN || p->code_cache_bytes > CODE_CACHE_MAX))
		return fail(error, "cpu", "code_cache_bytes", "must be 8 MiB to 1 GiB");
	if (s->monitor && parse_object(s->monitor, "monitor", monitor_members, p, error))
		return -EINVAL;
	if (s->statistics &&
	    parse_object(s->statistics, "statistics", statistics_members, p, error))
		return -EINVAL;
	if (s->log && parse_split(s->log, "log", log_members, p, log_level_members, s, error))
		return -EINVAL;
	if (parse_features(&p->features_off, s->features_off, "features_off", error) ||
	    parse_features(&p->features_required, s->features_required, "features_required",
			   error) ||
	    parse_backends(p, s->backends, error) || parse_devices(p, s->devices, error))
		return -EINVAL;
	return check_words(p, s, error);
}

struct plan *plan_parse(const char *text, size_t bytes, GError **error)
{
	struct sections s = { .log_level = "info" };
	json_error_t json_error;
	struct plan *p = g_new0(struct plan, 1);
	int err;

	p->kernel_fd = p->initrd_fd = p->monitor_fd = p->log_fd = p->perf_map_fd = -1;
	p->statistics_fd = -1;
	p->jitdump_fd = p->guest_symbols_fd = p->code_from_fd = p->code_to_fd = -1;
	p->kvm_fd = -1;
	p->cmdline = "";
	p->clock_offset = "utc";
	p->on_poweroff = p->on_crash = "destroy";
	p->on_reboot = "restart";
	p->on_watchdog = "reset";
	p->kaslr = true;
	p->root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &json_error);
	if (!json_is_object(p->root)) {
		g_set_error(error, PLAN_ERROR, EINVAL, "plan: line %d: %s", json_error.line,
			    p->root ? "not an object" : json_error.text);
		err = -EINVAL;
	} else {
		err = parse_split(p->root, "", root_members, p, root_sections, &s, error);
	}
	if (!err)
		err = parse_sections(p, &s, error);
	if (err) {
		plan_free(p);
		return NULL;
	}
	return p;
}

struct plan *plan_read(int fd, GError **error)
{
	GByteArray *text = g_byte_array_new();
	struct plan *plan = NULL;
	u8 buffer[16384];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || text->len + n > PLAN_BYTES_MAX)
			break;
		g_byte_array_append(text, buffer, n);
	}
	if (n < 0)
		g_set_error(error, PLAN_ERROR, errno, "cannot read the plan from descriptor %d: %s",
			    fd, g_strerror(errno));
	else if (n > 0)
		g_set_error(error, PLAN_ERROR, EFBIG, "the plan is larger than 4 MiB");
	else
		plan = plan_parse((const char *)text->data, text->len, error);
	g_byte_array_free(text, TRUE);
	return plan;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	json_decref(plan->root);
	g_free(plan->features_off);
	g_free(plan->features_required);
	g_free(plan->pins);
	g_free(plan->backends);
	g_free(plan->devices);
	g_free(plan);
}
