/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan's parser, assembly from a plan, and the monitor, on the fake engine.
 */
#include "machine/board.h"
#include "machine/boot/boot.h"
#include "testvm.h"
#include "vmm/assemble.h"
#include "vmm/describe.h"
#include "vmm/monitor.h"
#include "vmm/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Plan. */

static const char minimal[] =
	"{\"version\": 1, \"name\": \"g\", \"uuid\": \"u\", \"machine\": \"lodge-q35-1.0\","
	"\"engine\": {\"name\": \"soft\", \"why\": \"test\"}, \"memory\": {\"bytes\": 67108864},"
	"\"vcpus\": {\"count\": 1, \"sockets\": 1, \"cores\": 1, \"threads\": 1},"
	"\"boot\": {}, \"devices\": []}";

static struct plan *parse(const char *text, GError **error)
{
	return plan_parse(text, strlen(text), error);
}

static void test_plan_minimal(void)
{
	GError *error = NULL;
	struct plan *plan = parse(minimal, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(plan->name, ==, "g");
	g_assert_cmpint(plan->kernel_fd, ==, -1);
	g_assert_cmpint(plan->perf_map_fd, ==, -1);
	g_assert_cmpint(plan->jitdump_fd, ==, -1);
	g_assert_cmpstr(plan->on_reboot, ==, "restart");
	g_assert_cmpstr(plan->on_crash, ==, "destroy");
	g_assert_true(plan->kaslr);
	g_assert_cmpint(plan->log_level, ==, LOG_INFO);
	plan_free(plan);
}

/* The example in the documentation is a plan. */
static void test_plan_documented(void)
{
	const char *source = g_getenv("LODGE_SOURCE");
	char *path, *text, *start, *end;
	GError *error = NULL;
	struct plan *plan;

	if (!source) {
		g_test_skip("LODGE_SOURCE is not set");
		return;
	}
	path = g_build_filename(source, "docs", "plan.md", NULL);
	g_file_get_contents(path, &text, NULL, &error);
	g_assert_no_error(error);
	start = strstr(text, "```json") + 7;
	end = strstr(start, "```");
	plan = plan_parse(start, end - start, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(plan->vcpus, ==, 2);
	g_assert_cmpuint(plan->backend_count, ==, 6);
	g_assert_cmpint(plan->monitor_fd, ==, 13);
	g_assert_cmpint(plan->perf_map_fd, ==, 15);
	g_assert_cmpint(plan->guest_symbols_fd, ==, 16);
	g_assert_cmpint(plan->jitdump_fd, ==, 17);
	g_assert_cmpint(plan->code_from_fd, ==, 18);
	g_assert_cmpint(plan->code_to_fd, ==, 19);
	g_assert_true(plan->code_checked);
	g_assert_cmpuint(plan->memory.huge_page_bytes, ==, 2 * MIB);
	g_assert_true(plan->memory.allocated);
	g_assert_cmpint(plan->memory.numa_mode, ==, NUMA_STRICT);
	g_assert_true(number_set_has(&plan->memory.numa_nodes, 1));
	g_assert_true(number_set_has(&plan->pins[0], 3) && !number_set_has(&plan->pins[0], 2));
	g_assert_true(number_set_empty(&plan->pins[1]));
	g_assert_true(number_set_has(&plan->others, 0));
	plan_free(plan);
	g_free(text);
	g_free(path);
}

static void test_number_sets(void)
{
	static const struct {
		const char *text, *back; /* NULL: it is none */
	} cases[] = {
		{ "0", "0" },           { "0-3,^2,8", "0-1,3,8" },
		{ "8,0,1,2", "0-2,8" }, { "1023", "1023" },
		{ "0-1023", "0-1023" }, { "1024", NULL },
		{ "", NULL },           { ",", NULL },
		{ "1,", NULL },         { "^1", NULL },
		{ "1,^1", NULL },       { "3-1", NULL },
		{ "1-", NULL },         { "-1", NULL },
		{ "1 2", NULL },        { "99999999999999999999", NULL },
		{ "^1-2", NULL },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		g_autofree char *back = NULL;
		struct number_set set;
		bool good = number_set_parse(cases[i].text, &set);

		g_assert_cmpint(good, ==, cases[i].back != NULL);
		if (!good)
			continue;
		back = number_set_format(&set);
		g_assert_cmpstr(back, ==, cases[i].back);
	}
}

/* What is replaced in the minimal plan, by what, and a part of the message. */
static void test_plan_refused(void)
{
	static const struct {
		const char *old, *new, *message;
	} cases[] = {
		{ "{\"version\": 1,", "{", "version is missing" },
		{ "\"version\": 1", "\"version\": 2", "version must be 1" },
		{ "\"version\": 1", "\"version\": \"1\"", "version must be a whole number" },
		{ "\"name\": \"g\",", "", "name is missing" },
		{ "\"g\"", "7", "name must be a string" },
		{ "\"g\"", "\"a\\u0000b\"", "u0000" },
		{ "\"uuid\"", "\"uuuid\"", "uuuid is not known" },
		{ "\"boot\": {}", "\"boot\": {\"kernel\": -1}",
		  "boot.kernel must be a descriptor" },
		{ "\"boot\": {}", "\"boot\": {\"kernel\": \"x\"}",
		  "boot.kernel must be a descriptor" },
		{ "\"boot\": {}", "\"boot\": {\"kaslr\": 1}", "boot.kaslr must be true or false" },
		{ "\"boot\": {}", "\"boot\": {\"firmware\": 1}", "boot.firmware is not known" },
		{ "\"boot\": {}", "\"boot\": []", "boot must be an object" },
		{ "\"boot\": {},", "", "boot is missing" },
		{ "67108864", "-1", "memory.bytes" },
		{ "67108864", "67108864, \"huge_page_bytes\": 3145728",
		  "memory.huge_page_bytes is not" },
		{ "67108864", "67108864, \"huge_page_bytes\": 4096",
		  "memory.huge_page_bytes is not" },
		{ "67108864", "67108864, \"numa_mode\": \"nearest\"", "memory.numa_mode must be" },
		{ "67108864", "67108864, \"numa_mode\": \"strict\"",
		  "memory.numa_nodes is needed" },
		{ "67108864", "67108864, \"numa_nodes\": \"0\"", "memory.numa_nodes is needed" },
		{ "67108864", "67108864, \"numa_mode\": \"strict\", \"numa_nodes\": \"x\"",
		  "memory.numa_nodes must be a set" },
		{ "\"count\"", "\"pins\": [], \"count\"", "vcpus.pins must be as many" },
		{ "\"count\"", "\"pins\": [7], \"count\"", "vcpus.pins must hold sets" },
		{ "\"count\"", "\"pins\": [\"1-\"], \"count\"", "vcpus.pins must hold sets" },
		{ "\"count\"", "\"others\": \"\", \"count\"", "vcpus.others must be a set" },
		{ "67108864", "6.5", "memory.bytes must be a whole number" },
		{ "67108864", "99999999999999999999", "too big" },
		{ "\"devices\": []", "\"devices\": {}", "devices must be an array" },
		{ "\"devices\": []", "\"devices\": [1]", "devices.type" },
		{ "\"devices\": []", "\"devices\": [{\"type\": \"x\"}]", "devices.id" },
		{ "\"devices\": []", "\"devices\": [], \"lifecycle\": {\"crash\": \"explode\"}",
		  "lifecycle.crash must be" },
		{ "\"devices\": []", "\"devices\": [], \"clock\": {\"offset\": \"mars\"}",
		  "clock.offset" },
		{ "\"devices\": []", "\"devices\": [], \"log\": {\"fd\": 3, \"level\": \"loud\"}",
		  "log.level must be" },
		{ "\"devices\": []", "\"devices\": [], \"log\": {\"level\": \"info\"}",
		  "log.fd is missing" },
		{ "\"devices\": []", "\"devices\": [], \"cpu\": {\"features_required\": [7]}",
		  "cpu.features_required must hold strings" },
		{ "\"name\": \"soft\"", "\"name\": \"kvm\"", "engine.fd is missing" },
		{ "\"name\": \"soft\"", "\"fd\": 9, \"name\": \"soft\"",
		  "engine.fd is for kvm alone" },
		{ "\"name\": \"soft\"", "\"movable\": true, \"name\": \"soft\"",
		  "engine.fd is missing" },
		{ "\"name\": \"soft\"", "\"fd\": 1, \"name\": \"kvm\"",
		  "engine.fd must not be a standard stream" },
		{ "\"name\": \"soft\"", "\"fd\": \"9\", \"name\": \"kvm\"",
		  "engine.fd must be a descriptor" },
		{ "\"devices\": []", "\"devices\": [], \"cpu_debug\": {\"perf_map\": true}",
		  "cpu_debug.perf_map must be a descriptor" },
		{ "\"devices\": []", "\"devices\": [], \"cpu_debug\": {\"perf_map\": 0}",
		  "cpu_debug.perf_map must not be a standard stream" },
		{ "\"devices\": []",
		  "\"devices\": [], \"cpu\": {\"features_off\": [], \"code_cache_bytes\": 4194304}",
		  "cpu.code_cache_bytes must be 8 MiB to 1 GiB" },
		{ "\"devices\": []", "\"devices\": [], \"cpu_debug\": {\"jitdump\": 1}",
		  "cpu_debug.jitdump must not be a standard stream" },
		{ "\"devices\": []", "\"devices\": [], \"cpu_debug\": {\"guest_symbols\": 5}",
		  "cpu_debug.guest_symbols is of no use without perf_map" },
		{ "\"devices\": []", "\"devices\": [], \"cpu\": {\"code_from\": \"file\"}",
		  "cpu.code_from must be a descriptor" },
		{ "\"devices\": []", "\"devices\": [], \"cpu\": {\"code_from\": 1}",
		  "cpu.code_from must not be a standard stream" },
		{ "\"devices\": []", "\"devices\": [], \"cpu\": {\"code_to\": 2}",
		  "cpu.code_to must not be a standard stream" },
		{ "\"devices\": []", "\"devices\": [], \"monitor\": {}", "monitor.fd is missing" },
		{ "\"devices\": []", "\"devices\": [], \"cpu\": {\"features_off\": [1]}",
		  "must hold strings" },
		{ "\"devices\": []", "\"devices\": [], \"backends\": [{\"id\": \"a\"}]",
		  "backends.kind" },
		{ "\"devices\": []",
		  "\"devices\": [], \"backends\": [{\"id\": \"a\", \"kind\": \"k\", \"driver\": "
		  "\"d\"}]",
		  "backends.a is of an unknown kind" },
		{ "\"devices\": []",
		  "\"devices\": [], \"backends\": [{\"id\": \"a\", \"kind\": \"net\", \"driver\": "
		  "\"d\"},"
		  "{\"id\": \"a\", \"kind\": \"net\", \"driver\": \"d\"}]",
		  "backends.a is there twice" },
		{ "\"devices\": []", "\"devices\": [], \"devices\": []", "duplicate" },
		{ "{\"version\"", "[{\"version\"", "line" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		GString *text = g_string_new(minimal);
		GError *error = NULL;

		g_assert_cmpuint(g_string_replace(text, cases[i].old, cases[i].new, 1), ==, 1);
		g_assert_null(parse(text->str, &error));
		g_assert_nonnull(error);
		if (!strstr(error->message, cases[i].message))
			g_error("'%s' lacks '%s'", error->message, cases[i].message);
		g_clear_error(&error);
		g_string_free(text, TRUE);
	}
}

static void test_plan_damaged(void)
{
	GRand *rand = g_rand_new_with_seed(1);
	char text[sizeof(minimal)];

	for (unsigned i = 0; i < 20000; i++) {
		GError *error = NULL;
		struct plan *plan;

		memcpy(text, minimal, sizeof(text));
		for (unsigned k = 0; k < 1 + i % 4; k++)
			text[g_rand_int_range(rand, 0, sizeof(text) - 1)] =
				g_rand_int_range(rand, 1, 256);
		plan = plan_parse(text, g_rand_int_range(rand, 0, sizeof(text)), &error);
		g_assert_true((plan == NULL) == (error != NULL));
		plan_free(plan);
		g_clear_error(&error);
	}
	g_rand_free(rand);
}

/* Assembly. */

static int kernel_fd(void)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, 8192), ==, 0);
	return fd;
}

static struct assembly *build(const char *devices, const char *backends, struct plan **plan,
			      GError **error)
{
	GString *text = g_string_new(minimal);
	char *boot = g_strdup_printf("\"boot\": {\"kernel\": %d}", kernel_fd());
	char *lists = g_strdup_printf("\"devices\": [%s], \"backends\": [%s]", devices, backends);
	struct assembly *assembly = NULL;

	g_string_replace(text, "\"boot\": {}", boot, 1);
	g_string_replace(text, "\"devices\": []", lists, 1);
	*plan = parse(text->str, error);
	if (*plan)
		assembly = assemble(*plan, &fake_accel, NULL, error);
	g_free(boot);
	g_free(lists);
	g_string_free(text, TRUE);
	return assembly;
}

static void test_assemble(void)
{
	GError *error = NULL;
	struct plan *plan;
	struct assembly *a = build(
		"{\"type\": \"virtio-rng\", \"id\": \"rng0\", \"bus\": 1, \"slot\": 0, "
		"\"function\": 0},"
		"{\"type\": \"pcie-root-port\", \"id\": \"pci.1\", \"bus\": 0, \"slot\": 4, "
		"\"function\": 0,"
		" \"chassis\": 1, \"port\": 16},"
		"{\"type\": \"isa-serial\", \"id\": \"s0\", \"index\": 0, \"backend\": \"c0\"}",
		"{\"id\": \"c0\", \"kind\": \"console\", \"driver\": \"null\"}", &plan, &error);

	g_assert_no_error(error);
	g_assert_nonnull(a);
	g_assert_nonnull(a->vm->pci);
	g_assert_true(a->vm->boot == boot_direct);
	assembly_free(a);
	plan_free(plan);
}

static void test_assemble_refused(void)
{
	static const struct {
		const char *devices, *backends, *message;
	} cases[] = {
		{ "{\"type\": \"flux\", \"id\": \"f\"}", "", "unknown type 'flux'" },
		{ "{\"type\": \"lapic\", \"id\": \"f\"}", "", "unknown type 'lapic'" },
		{ "{\"type\": \"isa-serial\", \"id\": \"s\", \"speed\": 9}", "",
		  "no setting 'speed'" },
		{ "{\"type\": \"isa-serial\", \"id\": \"s\", \"index\": 9}", "",
		  "not within 0..3" },
		{ "{\"type\": \"isa-serial\", \"id\": \"s\", \"index\": []}", "",
		  "must be a number" },
		{ "{\"type\": \"isa-serial\", \"id\": \"s\", \"backend\": \"x\"}", "",
		  "wants the backend 'x'" },
		{ "{\"type\": \"virtio-blk\", \"id\": \"d\"}", "", "lacks its setting 'backend'" },
		{ "{\"type\": \"virtio-rng\", \"id\": \"r\", \"bus\": 9}", "", "no PCI bus 9" },
		{ "{\"type\": \"virtio-rng\", \"id\": \"r\", \"slot\": 31}", "",
		  "belongs to 'lpc'" },
		{ "{\"type\": \"virtio-rng\", \"id\": \"pm\"}", "", "two devices are named 'pm'" },
		{ "", "{\"id\": \"c\", \"kind\": \"console\", \"driver\": \"tape\", \"fd\": 0}",
		  "no console driver 'tape'" },
		{ "", "{\"id\": \"c\", \"kind\": \"console\", \"driver\": \"pty\"}",
		  "lacks its descriptor" },
		{ "", "{\"id\": \"d\", \"kind\": \"block\", \"driver\": \"raw\", \"fd\": 99999}",
		  "cannot measure" },
		{ "", "{\"id\": \"d\", \"kind\": \"block\", \"driver\": \"qcow9\", \"fd\": 9}",
		  "no disk image driver" },
		{ "", "{\"id\": \"n\", \"kind\": \"net\", \"driver\": \"string\", \"fd\": 9}",
		  "no network driver" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		GError *error = NULL;
		struct plan *plan;

		g_assert_null(build(cases[i].devices, cases[i].backends, &plan, &error));
		g_assert_nonnull(error);
		if (!strstr(error->message, cases[i].message))
			g_error("'%s' lacks '%s'", error->message, cases[i].message);
		g_clear_error(&error);
		plan_free(plan);
	}
}

/* Machine types are versions: one that is not there is refused, whatever else it resembles. */
static void test_machine_types(void)
{
	static const char *const names[] = { "lodge-q35-9.9", "lodge-q35", "q35", "" };

	g_assert_cmpstr(boards[0]->name, ==, "lodge-q35-1.0");
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		GString *text = g_string_new(minimal);
		GError *error = NULL;
		struct plan *plan;
		char *message;

		g_string_replace(text, "lodge-q35-1.0", names[i], 1);
		plan = parse(text->str, &error);
		g_assert_no_error(error);
		g_assert_null(assemble(plan, &fake_accel, NULL, &error));
		message = g_strdup_printf(
			"there is no machine '%s'; this version has lodge-q35-1.0", names[i]);
		g_assert_nonnull(strstr(error->message, message));
		g_free(message);
		g_error_free(error);
		plan_free(plan);
		g_string_free(text, TRUE);
	}
}

static void test_describe(void)
{
	json_t *d = describe();

	g_assert_cmpuint(json_array_size(json_object_get(d, "devices")), >, 10);
	g_assert_cmpstr(json_string_value(json_array_get(json_object_get(d, "machines"), 0)), ==,
			"lodge-q35-1.0");
	json_decref(d);
}

/* Monitor. */

struct served {
	struct vm *vm;
	struct monitor *monitor;
	struct sockaddr_un address;
	char *dir;
};

static void serve(struct served *s)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	s->vm = test_vm_new(1, 4 * MIB);
	g_assert_cmpint(vm_start(s->vm, false, NULL), ==, 0);
	s->dir = g_dir_make_tmp("lodge-XXXXXX", NULL);
	s->address.sun_family = AF_UNIX;
	g_snprintf(s->address.sun_path, sizeof(s->address.sun_path), "%s/m", s->dir);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&s->address, sizeof(s->address)), ==, 0);
	g_assert_cmpint(listen(fd, 20), ==, 0);
	s->monitor = monitor_new(s->vm, fd, NULL);
	monitor_open(s->monitor);
	g_assert_nonnull(s->monitor);
}

static void unserve(struct served *s)
{
	monitor_free(s->monitor);
	vm_free(s->vm);
	unlink(s->address.sun_path);
	rmdir(s->dir);
	g_free(s->dir);
}

static int dial(struct served *s)
{
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	g_assert_cmpint(connect(fd, (struct sockaddr *)&s->address, sizeof(s->address)), ==, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static json_t *hear(int fd)
{
	GString *line = g_string_new(NULL);
	json_t *message;
	char ch;

	while (read(fd, &ch, 1) == 1 && ch != '\n')
		g_string_append_c(line, ch);
	message = json_loads(line->str, 0, NULL);
	g_string_free(line, TRUE);
	return message;
}

static void say(int fd, const char *text)
{
	g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static void expect(int fd, const char *member)
{
	json_t *message = hear(fd);

	g_assert_nonnull(json_object_get(message, member));
	json_decref(message);
}

/* The control thread's part in short. */
static gpointer control(gpointer data)
{
	struct served *s = data;
	enum vm_request request;

	while ((request = vm_wait_request(s->vm, -1, NULL)) != VM_REQUEST_QUIT) {
		if (request == VM_REQUEST_PAUSE) {
			vm_pause(s->vm);
			monitor_event(s->monitor, "STOP", NULL);
		} else if (request == VM_REQUEST_RESUME) {
			vm_resume(s->vm);
			monitor_event(s->monitor, "RESUME", json_pack("{s:i}", "n", 1));
		}
	}
	return NULL;
}

static void test_monitor(void)
{
	struct served s;
	GThread *thread;
	json_t *message;
	int a, b;

	serve(&s);
	thread = g_thread_new("control", control, &s);
	a = dial(&s);
	expect(a, "QMP");
	say(a, "{\"execute\": \"query-status\", \"id\": 7}");
	message = hear(a); /* capabilities first; the id comes back */
	g_assert_nonnull(json_object_get(message, "error"));
	g_assert_cmpint(json_integer_value(json_object_get(message, "id")), ==, 7);
	json_decref(message);
	say(a, "{\"execute\": \"qmp_capabilities\"}\n");
	expect(a, "return");
	b = dial(&s);
	expect(b, "QMP");
	say(b, "{\"execute\": \"qmp_capabilities\"}");
	expect(b, "return");
	/* one write with two commands, one command in pieces */
	say(a, "{\"execute\":\"query-version\"}{\"execute\":\"query-sta");
	expect(a, "return");
	say(a, "tus\"}");
	message = hear(a);
	g_assert_cmpstr(
		json_string_value(json_object_get(json_object_get(message, "return"), "status")),
		==, "running");
	json_decref(message);
	say(a, "{\"execute\": \"nonsense\"}");
	expect(a, "error");
	say(a, "{\"nonsense\": \"}{\"}");
	expect(a, "error");
	/* events go to everybody */
	say(b, "{\"execute\": \"stop\"}");
	message = hear(a);
	g_assert_cmpstr(json_string_value(json_object_get(message, "event")), ==, "STOP");
	json_decref(message);
	g_assert_cmpint(vm_state_get(s.vm), ==, VM_PAUSED);
	for (int i = 0; i < 2; i++) { /* its own reply and the event, in either order */
		message = hear(b);
		g_assert_true(json_object_get(message, "event") ||
			      json_object_get(message, "return"));
		json_decref(message);
	}
	say(b, "{\"execute\": \"cont\"}");
	expect(a, "event");
	/* garbage is answered, a flood is cut off, others do not notice */
	say(b, "garbage\n");
	close(b);
	b = dial(&s);
	expect(b, "QMP");
	{
		char *flood = g_strnfill(MONITOR_INPUT_MAX + 8192, '{');
		char byte;

		if (write(b, flood, strlen(flood)) > 0)
			while (read(b, &byte, 1) > 0)
				;
		g_free(flood);
	}
	say(a, "{\"execute\": \"quit\"}");
	expect(a, "return");
	g_thread_join(thread);
	close(a);
	close(b);
	unserve(&s);
}

/* A client that never reads its events is dropped, not waited for. */
static void test_monitor_deaf_client(void)
{
	struct served s;
	int a;

	serve(&s);
	a = dial(&s);
	say(a, "{\"execute\": \"qmp_capabilities\"}");
	expect(a, "QMP");
	expect(a, "return");
	for (unsigned i = 0; i < 30000; i++)
		monitor_event(s.monitor, "RESUME",
			      json_pack("{s:s}", "text", "some words to fill the buffer with"));
	unserve(&s);
	close(a);
}

static void test_monitor_many_clients(void)
{
	struct served s;
	int fds[MONITOR_CLIENTS_MAX + 4];
	unsigned greeted = 0;

	serve(&s);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(&s);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		json_t *message = hear(fds[i]);

		greeted += message != NULL;
		json_decref(message);
	}
	g_assert_cmpuint(greeted, ==, MONITOR_CLIENTS_MAX);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	unserve(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plan/number-sets", test_number_sets);
	g_test_add_func("/plan/minimal", test_plan_minimal);
	g_test_add_func("/plan/documented", test_plan_documented);
	g_test_add_func("/plan/refused", test_plan_refused);
	g_test_add_func("/plan/damaged", test_plan_damaged);
	g_test_add_func("/assemble/whole", test_assemble);
	g_test_add_func("/assemble/refused", test_assemble_refused);
	g_test_add_func("/assemble/machine-types", test_machine_types);
	g_test_add_func("/describe", test_describe);
	g_test_add_func("/monitor/conversation", test_monitor);
	g_test_add_func("/monitor/deaf-client", test_monitor_deaf_client);
	g_test_add_func("/monitor/many-clients", test_monitor_many_clients);
	return g_test_run();
}
