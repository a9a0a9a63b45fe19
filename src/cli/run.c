/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `lodge run`: a guest in the foreground, from a domain XML or from a few options, with no daemon.
 *
 *   XML or options -> domain -> completed -> live -> launch -> console until the guest ends
 *
 * Everything the guest itself prints goes to standard output, everything Lodge has to say to
 * standard error.
 */
#include "cli/command.h"
#include "cli/console.h"
#include "cli/terminal.h"
#include "domain/domain.h"
#include "launch/launch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_ERROR      1
#define EXIT_REBOOT     3
#define EXIT_CRASH      4
#define EXIT_ENDED      5
#define EXIT_TIMEOUT    124
#define EXIT_SIGNALLED  128
#define DEFAULT_MEMORY  "1G"
#define MONITOR_WAIT_MS 2000
#define RESIZE_WAIT_MS  500 /* the screen stands still meanwhile */

static const struct command_option options[] = {
	{ "--engine", VALUE_WORD, "auto|kvm|soft",
	  "what runs the processors (default: auto, kvm where it works)" },
	{ "--kvm-absent", VALUE_WORD, "soft|refuse", "what auto does without KVM (default: soft)" },
	{ "--movable", VALUE_NONE, NULL,
	  "under KVM: let the monitor move the guest to the software CPU and back" },
	{ "--console", VALUE_TEXT, "WHERE",
	  "the first serial port: stdio (default), none, pty, unix:PATH or file:PATH" },
	{ "--no-reboot", VALUE_NONE, NULL, "end when the guest resets or crashes" },
	{ "--timeout", VALUE_TEXT, "SECONDS", "end the guest after this time, with status 124" },
	{ "--forward", VALUE_TEXT, "[ADDRESS:]PORT:GUESTPORT",
	  "a port of this host that leads to the guest; udp:... for UDP", true },
	{ "--dry-run", VALUE_NONE, NULL,
	  "check and open everything, print the plan, start nothing" },
	{ "--print-xml", VALUE_NONE, NULL, "print the completed domain XML, start nothing" },
	{ "--kernel", VALUE_FILE, "FILE", "without XML: the kernel to boot" },
	{ "--initrd", VALUE_FILE, "FILE", "without XML: its initial RAM disk" },
	{ "--append", VALUE_TEXT, "TEXT", "without XML: its command line" },
	{ "--disk", VALUE_FILE, "FILE", "without XML: a raw disk image; may be repeated", true },
	{ "--memory", VALUE_TEXT, "SIZE", "without XML: as 512M or 2G (default: 1G)" },
	{ "--cpus", VALUE_TEXT, "COUNT", "without XML: virtual processors (default: 1)" },
	{ "--net", VALUE_WORD, "user|none", "without XML: the network (default: none)" },
	{ "--name", VALUE_TEXT, "NAME", "without XML: the guest's name" },
	{ "--unpack", VALUE_WORD, "host|guest",
	  "where the kernel is unpacked (default: with KVM in the guest, else on the host)" },
	{ "--no-kaslr", VALUE_NONE, NULL, "do not move the kernel in memory" },
	{ "--saved-code", VALUE_NONE, NULL,
	  "without KVM: keep translated code for the guest's next start" },
	{ "--verbose", VALUE_NONE, NULL, "write more into the guest's log" },
	{ "--cpu-step", VALUE_NONE, NULL, "for debugging: translate one instruction at a time" },
	{ "--cpu-check-blocks", VALUE_NONE, NULL,
	  "for debugging: compare translated code with its source at every entry" },
	{ "--cpu-stats", VALUE_NONE, NULL, "for debugging: count, and log at the end" },
	{ "--perf-map", VALUE_NONE, NULL,
	  "for perf(1): name the guest's translated code in /tmp/perf-PID.map" },
	{ "--jitdump", VALUE_FILE, "FOLDER",
	  "for perf(1): write the guest's translated code to FOLDER/jit-PID.dump" },
	{ "--guest-symbols", VALUE_FILE, "FILE",
	  "with one of these: name the kernel's functions, from its System.map" },
	{ "--vmm", VALUE_FILE, "PROGRAM", "for debugging: another lodge-vmm" },
	{ NULL }
};

static GQuark run_quark(void)
{
	return g_quark_from_static_string("lodge-run");
}

/* --- the domain --- */

#define OPTIONS_FILE "the options" /* what a domain made of options is called in messages */

/*
 * "the options:4: <vcpu>: ..." tells a person nothing who has written "--cpus": names that, or if
 * it is of no option, the element alone.
 */
static void name_option(GError *error)
{
	static const char *const names[][2] = {
		{ "<name>: ", "--name: " },         { "<memory>: ", "--memory: " },
		{ "<vcpu>: ", "--cpus: " },         { "<kernel>: ", "--kernel: " },
		{ "<initrd>: ", "--initrd: " },     { "<cmdline>: ", "--append: " },
		{ "<disk>: ", "--disk: " },         { "<serial>: ", "--console: " },
		{ "<interface>: ", "--forward: " },
	};
	const char *at = error->message + strlen(OPTIONS_FILE), *option = "";
	char *text;

	if (!g_str_has_prefix(error->message, OPTIONS_FILE ":"))
		return;
	at += strspn(at, ":0123456789 ");
	for (size_t i = 0; i < ARRAY_LEN(names) && !*option; i++) {
		if (!g_str_has_prefix(at, names[i][0]))
			continue;
		option = names[i][1];
		at += strlen(names[i][0]);
	}
	text = g_strconcat(option, at, NULL);
	g_free(error->message);
	error->message = text;
}

static int fail(GError *error)
{
	int status = g_error_matches(error, run_quark(), EXIT_USAGE) ? EXIT_USAGE : EXIT_ERROR;

	name_option(error);
	fprintf(stderr, "lodge run: %s\n", error->message);
	g_error_free(error);
	return status;
}

static const char *const only_without_xml[] = { "--kernel", "--initrd", "--append", "--disk",
						"--memory", "--cpus",   "--net",    "--name" };

static bool check_mix(const struct invocation *invocation, GError **error)
{
	bool xml = invocation->arguments->len;

	for (size_t i = 0; xml && i < ARRAY_LEN(only_without_xml); i++) {
		if (!invocation_has(invocation, only_without_xml[i]))
			continue;
		g_set_error(error, run_quark(), EXIT_USAGE,
			    "%s describes a guest that has no XML; change %s instead",
			    only_without_xml[i], (char *)invocation->arguments->pdata[0]);
		return false;
	}
	if (!xml && !invocation_has(invocation, "--kernel")) {
		g_set_error(error, run_quark(), EXIT_USAGE,
			    "give it a domain XML, or a kernel with --kernel");
		return false;
	}
	return true;
}

/* "512M" becomes <memory unit='M'>512</memory>; a bare number is MiB, as people mean it. */
static void append_memory(GString *xml, const char *size)
{
	size_t digits = strspn(size, "0123456789");
	char *number = g_strndup(size, digits);
	char *text = g_markup_printf_escaped("<memory unit='%s'>%s</memory>\n",
					     size[digits] ? size + digits : "MiB", number);

	g_string_append(xml, text);
	g_free(text);
	g_free(number);
}

static void append_element(GString *xml, const char *name, const char *text)
{
	char *element;

	if (!text)
		return;
	element = g_markup_printf_escaped("<%s>%s</%s>\n", name, text, name);
	g_string_append(xml, element);
	g_free(element);
}

static void append_os(GString *xml, const struct invocation *invocation)
{
	const char *append = invocation_value(invocation, "--append");
	bool has_console = append && strstr(append, "console=");
	char *cmdline = g_strdup_printf("%s%s%s", has_console ? "" : "console=ttyS0",
					append && !has_console ? " " : "", append ? append : "");

	g_string_append(xml, "<os><type arch='x86_64' machine='q35'>hvm</type>\n");
	append_element(xml, "kernel", invocation_value(invocation, "--kernel"));
	append_element(xml, "initrd", invocation_value(invocation, "--initrd"));
	append_element(xml, "cmdline", cmdline);
	g_string_append(xml, "</os>\n<features><acpi/><apic/></features>\n");
	g_free(cmdline);
}

static void append_devices(GString *xml, const struct invocation *invocation)
{
	const char *path;

	g_string_append(xml, "<devices>\n");
	for (unsigned i = 0; (path = invocation_nth(invocation, "--disk", i)); i++) {
		char *disk = g_markup_printf_escaped(
			"<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
			"<source file='%s'/><target dev='vd%c' bus='virtio'/></disk>\n",
			path, 'a' + i % 26);

		g_string_append(xml, disk);
		g_free(disk);
	}
	if (!g_strcmp0(invocation_value(invocation, "--net"), "user") ||
	    invocation_has(invocation, "--forward"))
		g_string_append(xml, "<interface type='user'><model type='virtio'/></interface>\n");
	g_string_append(xml, "<serial type='pty'/>\n<memballoon model='none'/>\n</devices>\n");
}

static struct domain *domain_from_options(const struct invocation *invocation, GError **error)
{
	const char *name = invocation_value(invocation, "--name");
	const char *memory = invocation_value(invocation, "--memory");
	char *own_name = g_strdup_printf("guest-%d", getpid());
	char *directory = g_get_current_dir();
	GString *xml = g_string_new("<domain type='qemu'>\n");
	struct domain *domain;

	append_element(xml, "name", name ? name : own_name);
	append_memory(xml, memory ? memory : DEFAULT_MEMORY);
	append_element(xml, "vcpu", invocation_value(invocation, "--cpus"));
	append_os(xml, invocation);
	append_devices(xml, invocation);
	g_string_append(xml, "</domain>\n");
	domain = domain_parse(xml->str, xml->len, OPTIONS_FILE, directory, error);
	g_string_free(xml, TRUE);
	g_free(directory);
	g_free(own_name);
	return domain;
}

static struct domain *load_domain(const struct invocation *invocation, GError **error)
{
	struct domain *domain;
	const char *forward;
	bool good = true;

	if (!check_mix(invocation, error))
		return NULL;
	if (invocation->arguments->len)
		domain = domain_parse_file(invocation->arguments->pdata[0], error);
	else
		domain = domain_from_options(invocation, error);
	if (!domain)
		return NULL;
	for (unsigned i = 0; good && (forward = invocation_nth(invocation, "--forward", i)); i++)
		good = domain_add_forward(domain, forward, error);
	if (!good || !domain_complete(domain, error)) {
		domain_free(domain);
		return NULL;
	}
	for (unsigned i = 0; i < domain->notes->len; i++)
		fprintf(stderr, "lodge: note: %s\n", (char *)domain->notes->pdata[i]);
	return domain;
}

/* --- options of the launch --- */

static bool read_console(const char *text, struct launch_options *launch, GError **error)
{
	static const struct {
		const char *name;
		enum launch_console console;
		bool path;
	} kinds[] = { { "stdio", LAUNCH_CONSOLE_CALLER, false },
		      { "none", LAUNCH_CONSOLE_NONE, false },
		      { "pty", LAUNCH_CONSOLE_PTY, false },
		      { "unix:", LAUNCH_CONSOLE_UNIX, true },
		      { "file:", LAUNCH_CONSOLE_FILE, true } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t length = strlen(kinds[i].name);

		if (strncmp(text, kinds[i].name, length) || !text[length] != !kinds[i].path)
			continue;
		launch->console = kinds[i].console;
		launch->console_path = kinds[i].path ? text + length : NULL;
		return true;
	}
	g_set_error(error, run_quark(), EXIT_USAGE,
		    "--console is stdio, none, pty, unix:PATH or file:PATH, not '%s'", text);
	return false;
}

static bool read_options(const struct invocation *invocation, struct launch_options *launch,
			 guint64 *timeout, GError **error)
{
	const char *console = invocation_value(invocation, "--console");
	const char *seconds = invocation_value(invocation, "--timeout");
	const char *unpack = invocation_value(invocation, "--unpack");

	*launch = (struct launch_options){
		.engine = invocation_value(invocation, "--engine"),
		.kvm_absent = invocation_value(invocation, "--kvm-absent"),
		.movable = invocation_has(invocation, "--movable"),
		.vmm_path = invocation_value(invocation, "--vmm"),
		.no_reboot = invocation_has(invocation, "--no-reboot"),
		.die_with_caller = true,
		.verbose_log = invocation_has(invocation, "--verbose"),
		.cpu_step = invocation_has(invocation, "--cpu-step"),
		.cpu_check_blocks = invocation_has(invocation, "--cpu-check-blocks"),
		.cpu_stats = invocation_has(invocation, "--cpu-stats"),
		.perf_map = invocation_has(invocation, "--perf-map"),
		.jitdump = invocation_value(invocation, "--jitdump"),
		.guest_symbols = invocation_value(invocation, "--guest-symbols"),
		.saved_code = invocation_has(invocation, "--saved-code"),
		.unpack = invocation_value(invocation, "--unpack"),
		.no_kaslr = invocation_has(invocation, "--no-kaslr"),
	};
	terminal_size(&launch->console_columns, &launch->console_rows);
	if (launch->no_kaslr && unpack && !strcmp(unpack, "guest")) {
		g_set_error(error, run_quark(), EXIT_USAGE,
			    "a kernel that unpacks itself chooses its own place: with --unpack "
			    "guest, give it nokaslr by --append instead of --no-kaslr");
		return false;
	}
	*timeout = 0;
	if (seconds && !g_ascii_string_to_unsigned(seconds, 10, 1, 1000000, timeout, NULL)) {
		g_set_error(error, run_quark(), EXIT_USAGE,
			    "--timeout is a number of seconds from 1 to 1000000, not '%s'",
			    seconds);
		return false;
	}
	if (launch->guest_symbols && !launch->perf_map && !launch->jitdump) {
		g_set_error(
			error, run_quark(), EXIT_USAGE,
			"--guest-symbols names what --perf-map and --jitdump write; give one of "
			"them too");
		return false;
	}
	return read_console(console ? console : "stdio", launch, error);
}

/* --- running --- */

struct run {
	struct launch *launch;
	bool timed_out, killed;
	unsigned powerdowns;
};

static void reset_guest(struct run *run)
{
	GError *error = NULL;

	if (!launch_monitor_command(run->launch, "system_reset", MONITOR_WAIT_MS, &error)) {
		fprintf(stderr, "lodge: cannot reset the guest: %s\r\n", error->message);
		g_error_free(error);
	}
}

static void say_helper_ended(const struct run *run)
{
	char *text = launch_helper_ended(run->launch);

	if (text)
		fprintf(stderr, "lodge: warning: %s\r\n", text);
	g_free(text);
}

/* A guest that hears nothing of it goes on with the old size; no message may spoil its screen. */
static void resize_console(const struct run *run)
{
	unsigned short columns, rows;

	if (run->launch->console_id && terminal_size(&columns, &rows))
		launch_resize_console(run->launch, columns, rows, RESIZE_WAIT_MS, NULL);
}

/*
 * lodge-vmm takes the first of SIGTERM and SIGINT as the power button and the second as the end.
 * One of each is sent, because two of a kind may arrive as one.
 */
static void press_button(struct run *run)
{
	if (run->powerdowns++ == 0)
		fprintf(stderr, "lodge: power button pressed; once more ends the guest\r\n");
	kill(run->launch->pid, run->powerdowns == 1 ? SIGTERM : SIGINT);
}

static void on_request(void *opaque, enum console_request request)
{
	struct run *run = opaque;

	switch (request) {
	case CONSOLE_RESET: reset_guest(run); break;
	case CONSOLE_RESIZED: resize_console(run); break;
	case CONSOLE_CHILD_ENDED: say_helper_ended(run); break;
	case CONSOLE_POWERDOWN: press_button(run); break;
	case CONSOLE_TIMEOUT:
	case CONSOLE_QUIT:
		run->timed_out = request == CONSOLE_TIMEOUT;
		run->killed = true;
		kill(run->launch->pid, SIGTERM);
		kill(run->launch->pid, SIGINT);
		break;
	}
}

static void say_start(const struct launch *launch, const struct launch_options *options)
{
	fprintf(stderr, "lodge: engine %s: %s\n", launch->engine, launch->engine_why);
	if (launch->log_trouble)
		fprintf(stderr, "lodge: warning: there will be no log: %s\n", launch->log_trouble);
	if (launch->console_path)
		fprintf(stderr, "lodge: the console is %s\n", launch->console_path);
	if (options->console == LAUNCH_CONSOLE_CALLER && launch->console_fd < 0)
		fprintf(stderr, "lodge: the guest has no serial port; add <serial type='pty'/> to "
				"see its console here\n");
	else if (launch->console_fd >= 0 && console_is_interactive())
		fprintf(stderr, "lodge: the escape key is " CONSOLE_ESCAPE_NAME "\n");
}

static const char *ending(int status)
{
	switch (status) {
	case 0: return "the guest powered off";
	case EXIT_ERROR: return NULL; /* lodge-vmm has said why */
	case EXIT_REBOOT: return "the guest reset, and --no-reboot or <on_reboot> ends it then";
	case EXIT_CRASH: return "the guest crashed, or its watchdog ended it";
	case EXIT_ENDED: return "the guest was ended";
	default: return "the guest ended itself through isa-debug-exit";
	}
}

static int say_end(const struct run *run, int wait_status)
{
	const char *log = run->launch->log_path;
	int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EXIT_ERROR;
	const char *text = ending(status);

	if (run->timed_out) {
		fprintf(stderr, "lodge: the guest was ended, its time was over\n");
		return EXIT_TIMEOUT;
	}
	if (WIFSIGNALED(wait_status)) {
		fprintf(stderr, "lodge: lodge-vmm was killed by signal %d (%s)%s%s\n",
			WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
			log ? "; its log is " : "", log ? log : "");
		return run->killed ? EXIT_ENDED : EXIT_SIGNALLED + WTERMSIG(wait_status);
	}
	if (text)
		fprintf(stderr, "lodge: %s\n", text);
	else
		fprintf(stderr, "lodge: the guest could not go on%s%s\n",
			log ? "; its log is " : "", log ? log : "");
	return status;
}

static int run_guest(struct launch *launch, const struct launch_options *options, unsigned timeout)
{
	struct run run = { .launch = launch };
	struct console_session session = {
		.guest_fd = launch->console_fd,
		.messages_fd = launch->messages_fd,
		.timeout_seconds = timeout,
		.request = on_request,
		.opaque = &run,
	};
	GError *error = NULL;
	int wait_status;

	console_block_signals();
	say_start(launch, options);
	if (!launch_start(launch, &error))
		return fail(error);
	if (options->perf_map || options->jitdump)
		fprintf(stderr, "lodge: for perf: perf record %s-e cpu-clock -p %d\n",
			options->jitdump ? "-k mono " : "", launch->pid);
	session.pid = launch->pid;
	wait_status = console_run(&session);
	launch_ended(launch, wait_status);
	return say_end(&run, wait_status);
}

static void print_plan(const struct launch *launch)
{
	char *text = json_dumps(launch->plan, JSON_INDENT(2));

	printf("%s\n", text);
	free(text);
}

static int launch_domain(const struct invocation *invocation, const struct domain *domain)
{
	struct launch_options options;
	struct launch *launch;
	struct domain *live;
	GError *error = NULL;
	char *left_out = NULL;
	guint64 timeout;
	int status = 0;

	if (!read_options(invocation, &options, &timeout, &error))
		return fail(error);
	live = domain_make_live(domain, &left_out, &error);
	if (!live)
		return fail(error);
	if (left_out)
		fprintf(stderr, "lodge: warning: %s: %s\n", domain->file, left_out);
	g_free(left_out);
	launch = launch_prepare(live, &options, &error);
	if (!launch)
		status = fail(error);
	else if (invocation_has(invocation, "--dry-run"))
		print_plan(launch);
	else
		status = run_guest(launch, &options, timeout);
	launch_free(launch);
	domain_free(live);
	return status;
}

static int run(const struct invocation *invocation)
{
	GError *error = NULL;
	struct domain *domain = load_domain(invocation, &error);
	int status = 0;
	char *text;

	if (!domain)
		return fail(error);
	if (invocation_has(invocation, "--print-xml")) {
		text = domain_format(domain);
		fputs(text, stdout);
		g_free(text);
	} else {
		status = launch_domain(invocation, domain);
	}
	domain_free(domain);
	return status;
}

const struct command command_run = {
	.name = "run",
	.arguments = "[GUEST.xml]",
	.arguments_max = 1,
	.summary = "run a guest in the foreground, from its domain XML or from options",
	.description = "Runs a guest until it ends, with its serial console on this terminal. "
		       "GUEST.xml is a\n"
		       "libvirt domain XML ('-' reads it from standard input); without one, "
		       "--kernel and the\n"
		       "other options marked 'without XML' describe the guest. No daemon and no "
		       "root is needed.\n"
		       "\n"
		       "Exit status: 0 the guest powered off, 1 an error, 3 it reset and that ends "
		       "it, 4 it\n"
		       "crashed, 5 it was ended from outside, 124 its time was over; a guest that "
		       "writes v to\n"
		       "isa-debug-exit ends with (v << 1) | 1.",
	.options = options,
	.action = run,
};
