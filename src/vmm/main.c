/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge-vmm: one guest. Reads a plan, builds the machine, runs it, says how it ended.
 *
 *   main thread      control: starts, stops, resets, decides what the guest's end means
 *   "signals"        SIGTERM, SIGINT, SIGHUP: first the power button, then the end
 *   "monitor"        commands and events
 *   "clock", "vcpuN", "console", "disk"   the machine's
 */
#include "accel/accel.h"
#include "base/log.h"
#include "machine/engine.h"
#include "machine/limit.h"
#include "machine/vm.h"
#include "vmm/affinity.h"
#include "vmm/assemble.h"
#include "vmm/counters.h"
#include "vmm/describe.h"
#include "vmm/monitor.h"
#include "vmm/plan.h"
#include "vmm/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* docs/plan.md */
enum {
	EXIT_POWEROFF = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_REBOOT = 3,
	EXIT_CRASH = 4,
	EXIT_QUIT = 5
};

struct vmm {
	struct plan *plan;
	struct assembly *assembly;
	struct vm *vm;
	struct monitor *monitor;
	struct memory_limits limits;
	cpu_set_t ran_on;  /* where it ran before the plan said where it should */
	bool reboot;       /* the next poweroff starts the guest over */
	s64 crash_restart; /* monotonic microseconds of the last restart after a crash; 0: none */
};

static const char usage[] =
	"Usage: lodge-vmm --plan FD\n"
	"       lodge-vmm --check-code FROM TO\n"
	"       lodge-vmm --describe | --help | --version\n"
	"\n"
	"Runs one guest, as the plan on descriptor FD says (docs/plan.md). Started by lodge and "
	"lodged.\n"
	"\n"
	"  --plan FD    read the plan, a JSON object, from this descriptor\n"
	"  --check-code FROM TO   copy the safe ones of a guest's saved translations between "
	"these\n"
	"               descriptors; nothing else is done\n"
	"  --describe   print machines, device types and drivers as JSON\n"
	"\n"
	"Exit status: 0 the guest powered off, 1 error, 3 it reset and reboot is \"destroy\",\n"
	"4 it crashed or its watchdog ended it, 5 ended by a signal or quit; isa-debug-exit gives "
	"(value << 1) | 1.\n";

static void report(GError *error, const char *doing)
{
	const char *text = error ? error->message : "unknown error";

	fprintf(stderr, "lodge-vmm: %s: %s\n", doing, text);
	log_error("vmm", "%s: %s", doing, text);
	g_clear_error(&error);
}

static void *signal_thread(void *arg)
{
	struct vm *vm = arg;
	sigset_t set;
	int number;

	pthread_setname_np(pthread_self(), "signals");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	for (int n = 0; sigwait(&set, &number) == 0; n++) {
		log_info("vmm", "signal %d", number);
		vm_request(vm, n ? VM_REQUEST_QUIT : VM_REQUEST_POWERDOWN, 0);
	}
	return NULL;
}

/* Before any thread starts: all of them inherit the mask. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void start_signal_thread(struct vm *vm)
{
	pthread_t thread;

	/* Without it signals stay blocked and only SIGKILL ends the program: worth a warning. */
	if (pthread_create(&thread, NULL, signal_thread, vm))
		log_warning("vmm", "cannot start the signal thread");
	else
		pthread_detach(thread);
}

static void shutdown_event(struct vmm *vmm, bool guest, const char *reason)
{
	monitor_event(vmm->monitor, "SHUTDOWN",
		      json_pack("{s:b,s:s}", "guest", guest, "reason", reason));
}

/* Starts over, or says that this fails: then the run ends with an error. */
static bool restart(struct vmm *vmm, bool guest, const char *reason)
{
	GError *error = NULL;
	int err = vm_reset(vmm->vm, &error);

	vmm->reboot = false;
	if (err == -EAGAIN) {
		log_info("vmm", "the reset waits until the guest has memory");
		return true;
	}
	if (err) {
		report(error, "cannot restart the guest");
		return false;
	}
	monitor_event(vmm->monitor, "RESET",
		      json_pack("{s:b,s:s}", "guest", guest, "reason", reason));
	return true;
}

/* The guest ended in some way that the plan says what to do about. -1: goes on. */
static int ended(struct vmm *vmm, const char *action, const char *reason, int status)
{
	bool guest = !g_str_has_prefix(reason, "host-");

	log_info("vmm", "%s", reason);
	if (!strcmp(action, "restart"))
		return restart(vmm, guest, reason) ? -1 : EXIT_ERROR;
	shutdown_event(vmm, guest, reason);
	return status;
}

/* What the guest's end of its own making means to the person who started it. */
static void say(const char *format, const char *what)
{
	char *text = g_strdup_printf(format, what);

	fprintf(stderr, "lodge-vmm: %s\n", text);
	log_error("vmm", "%s", text);
	g_free(text);
}

/* A guest that crashes as soon as it runs must not keep the host busy with starting it. */
#define CRASH_RESTARTS_US G_USEC_PER_SEC

static void pace_restarts(struct vmm *vmm)
{
	s64 now = g_get_monotonic_time();
	s64 early = vmm->crash_restart + CRASH_RESTARTS_US - now;

	if (vmm->crash_restart && early > 0) {
		log_warning("vmm", "it crashed as soon as it ran: the restart waits %lld ms",
			    (long long)early / 1000);
		g_usleep(early);
	}
	vmm->crash_restart = g_get_monotonic_time();
}

static int crashed(struct vmm *vmm, enum vm_crash crash)
{
	static const char *const causes[] = {
		[VM_CRASH_TRIPLE_FAULT] = "triple fault",
		[VM_CRASH_PANIC] = "its kernel panicked",
	};
	const char *action = vmm->plan->on_crash;
	bool preserve = !strcmp(action, "preserve");

	say("the guest crashed: %s", causes[crash]);
	monitor_event(vmm->monitor, "GUEST_PANICKED",
		      json_pack("{s:s}", "action",
				preserve                     ? "pause"
				: !strcmp(action, "restart") ? "reset"
							     : "poweroff"));
	if (!strcmp(action, "restart"))
		pace_restarts(vmm);
	if (!preserve)
		return ended(vmm, action, "guest-panic", EXIT_CRASH);
	vm_pause_for(vmm->vm, "guest-panicked", crash == VM_CRASH_TRIPLE_FAULT);
	say("%s", "the guest is paused as it is; look at it, then reset or quit it");
	monitor_event(vmm->monitor, "STOP", NULL);
	return -1;
}

/* -1: goes on. */
static int bitten(struct vmm *vmm)
{
	const char *action = vmm->plan->on_watchdog;

	say("the guest's watchdog has expired: %s", action);
	monitor_event(vmm->monitor, "WATCHDOG", json_pack("{s:s}", "action", action));
	if (!strcmp(action, "reset"))
		return ended(vmm, vmm->plan->on_reboot, "guest-reset", EXIT_REBOOT);
	if (!strcmp(action, "poweroff")) {
		shutdown_event(vmm, true, "guest-panic");
		return EXIT_CRASH;
	}
	if (!strcmp(action, "shutdown")) {
		vm_request(vmm->vm, VM_REQUEST_POWERDOWN, 0);
	} else if (!strcmp(action, "inject-nmi")) {
		vm_nmi(vmm->vm);
	} else if (!strcmp(action, "pause")) {
		vm_pause_for(vmm->vm, "watchdog", false);
		monitor_event(vmm->monitor, "STOP", NULL);
	}
	return -1;
}

static void starve(struct vmm *vmm)
{
	vm_starve(vmm->vm);
	if (!vm_starving(vmm->vm))
		return;
	log_error("vmm", "the guest is paused: %s; make room and continue it",
		  vm_starving(vmm->vm));
	fprintf(stderr,
		"lodge-vmm: the guest is paused: %s; make room, then continue it with the monitor "
		"command \"cont\"\n",
		vm_starving(vmm->vm));
	monitor_event(vmm->monitor, "STOP", NULL);
}

/* A disk's request waits for the host to do better. */
static void io_failed(struct vmm *vmm)
{
	struct vm_io_error e = vm_io_error(vmm->vm);
	bool space = e.err == ENOSPC || e.err == EDQUOT;
	bool running = vm_state_get(vmm->vm) == VM_RUNNING;
	char *text;

	if (!e.disk)
		return; /* it was several requests' error, and has been told */
	vm_pause_for(vmm->vm, "io-error", vm_needs_reset(vmm->vm));
	text = g_strdup_printf("disk %s: %s; %s, then continue it with the monitor command "
			       "\"cont\"",
			       e.disk, g_strerror(e.err), space ? "make room" : "mend that");
	say("the guest is paused: %s", text);
	monitor_event(vmm->monitor, "BLOCK_IO_ERROR",
		      json_pack("{s:s,s:s,s:s,s:b,s:s}", "device", e.disk, "operation",
				e.write ? "write" : "read", "action", "stop", "nospace", space,
				"reason", g_strerror(e.err)));
	if (running)
		monitor_event(vmm->monitor, "STOP", NULL);
	g_free(text);
	g_free(e.disk);
}

static void move(struct vmm *vmm)
{
	GError *error = NULL;

	if (vm_move(vmm->vm, &error)) {
		log_warning("vmm", "the guest stays where it is: %s", error->message);
		g_error_free(error);
	}
}

static int handle(struct vmm *vmm, enum vm_request request, int value)
{
	const struct plan *plan = vmm->plan;

	switch (request) {
	case VM_REQUEST_RESET:
		return ended(vmm, plan->on_reboot,
			     value == VM_RESET_HOST ? "host-qmp-system-reset" : "guest-reset",
			     EXIT_REBOOT);
	case VM_REQUEST_POWEROFF:
		if (vmm->reboot)
			return restart(vmm, true, "guest-shutdown") ? -1 : EXIT_ERROR;
		return ended(vmm, plan->on_poweroff, "guest-shutdown", EXIT_POWEROFF);
	case VM_REQUEST_CRASH: return crashed(vmm, value);
	case VM_REQUEST_CRASH_LOADED:
		log_warning("vmm", "the guest's kernel panicked and goes on to save its memory");
		monitor_event(vmm->monitor, "GUEST_CRASHLOADED",
			      json_pack("{s:s}", "action", "run"));
		return -1;
	case VM_REQUEST_WATCHDOG: return bitten(vmm);
	case VM_REQUEST_EXIT: shutdown_event(vmm, true, "guest-shutdown"); return value;
	case VM_REQUEST_ERROR:
		fprintf(stderr, "lodge-vmm: the %s engine failed; the log says why\n",
			vmm->vm->accel->name);
		shutdown_event(vmm, false, "host-error");
		return EXIT_ERROR;
	case VM_REQUEST_QUIT: shutdown_event(vmm, false, "host-qmp-quit"); return EXIT_QUIT;
	case VM_REQUEST_POWERDOWN:
	case VM_REQUEST_REBOOT:
		vmm->reboot = request == VM_REQUEST_REBOOT;
		if (vmm->vm->power_button)
			vmm->vm->power_button(vmm->vm);
		monitor_event(vmm->monitor, "POWERDOWN", NULL);
		return -1;
	case VM_REQUEST_STARVED: starve(vmm); return -1;
	case VM_REQUEST_IO_ERROR: io_failed(vmm); return -1;
	case VM_REQUEST_ENGINE: move(vmm); return -1;
	case VM_REQUEST_PAUSE:
		vm_pause(vmm->vm);
		monitor_event(vmm->monitor, "STOP", NULL);
		return -1;
	case VM_REQUEST_RESUME:
		vm_resume(vmm->vm);
		if (vm_state_get(vmm->vm) == VM_RUNNING)
			monitor_event(vmm->monitor, "RESUME", NULL);
		return -1;
	case VM_REQUEST_TIMEOUT: return -1;
	}
	return -1;
}

static void log_start(const struct vm *vm)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	log_info("vmm", "started with %u vCPUs and %llu MiB after %.1f ms of CPU time",
		 vm->vcpu_count, (unsigned long long)(vm->memory.bytes / MIB),
		 cpu.tv_sec * 1e3 + cpu.tv_nsec / 1e6);
}

/* For the next start of this guest. The vCPUs stand. */
static void save_code(struct vmm *vmm)
{
	const struct accel *accel = vmm->vm->accel;
	s64 blocks;

	if (vmm->plan->code_to_fd < 0 || !accel->save_code)
		return;
	blocks = accel->save_code(vmm->vm->accel_vm, vmm->plan->code_to_fd);
	if (blocks < 0)
		log_warning("vmm", "the translations are not saved: %s", g_strerror(-blocks));
	else if (blocks)
		log_info("vmm", "%lld translated blocks saved", (long long)blocks);
}

static int run(struct vmm *vmm)
{
	GError *error = NULL;
	int status = -1, value;

	if (vm_start(vmm->vm, true, &error) ||
	    affinity_set_vcpus(vmm->plan, vmm->vm, &vmm->ran_on, &error)) {
		report(error, "cannot start the guest");
		return EXIT_ERROR;
	}
	start_signal_thread(vmm->vm);
	if (sandbox_seal_for(vm_engine_requests(vmm->vm), &error)) {
		report(error, "cannot start the guest");
		return EXIT_ERROR;
	}
	log_start(vmm->vm);
	monitor_open(vmm->monitor);
	if (!vmm->plan->paused)
		vm_resume(vmm->vm);
	while (status < 0) {
		enum vm_request request = vm_wait_request(vmm->vm, -1, &value);

		status = handle(vmm, request, value);
	}
	vm_pause(vmm->vm);
	if (vmm->plan->cpu_stats)
		counters_log(vmm->vm);
	save_code(vmm);
	log_info("vmm", "ends with status %d", status);
	return status;
}

static int build(struct vmm *vmm, GError **error)
{
	const struct accel *accel = engine_find(vmm->plan->engine, error);

	if (!accel)
		return -1;
	log_info("vmm", "engine %s: %s", accel->name, vmm->plan->engine_why);
	vmm->assembly = assemble(vmm->plan, accel, vmm->limits.count ? &vmm->limits : NULL, error);
	if (!vmm->assembly)
		return -1;
	vmm->vm = vmm->assembly->vm;
	if (vmm->plan->monitor_fd >= 0) {
		vmm->monitor = monitor_new(vmm->vm, vmm->plan->monitor_fd, error);
		if (!vmm->monitor)
			return -1;
	}
	return 0;
}

static int run_plan(int fd)
{
	struct vmm vmm = { 0 };
	GError *error = NULL;
	int status = EXIT_ERROR;

	block_signals();
	vmm.plan = plan_read(fd, &error);
	if (!vmm.plan) {
		report(error, "cannot use the plan");
		return EXIT_ERROR;
	}
	if (vmm.plan->log_fd >= 0) {
		log_open(vmm.plan->log_fd, vmm.plan->log_level);
		log_check_areas("vmm");
	}
	if (memory_limits_open(&vmm.limits))
		log_info("vmm", "a control group limits memory: %llu MiB are free",
			 (unsigned long long)(memory_limits_room(&vmm.limits) / MIB));
	if (affinity_set_others(vmm.plan, &vmm.ran_on, &error) || sandbox_enter(&error) ||
	    build(&vmm, &error))
		report(error, "cannot build the machine");
	else
		status = run(&vmm);
	monitor_free(vmm.monitor);
	assembly_free(vmm.assembly);
	memory_limits_close(&vmm.limits);
	plan_free(vmm.plan);
	return status;
}

/* What a guest's process has written goes through another one before the next guest uses it. */
static int check_code(int from, int to)
{
	GError *error = NULL;
	s64 blocks;

	if (sandbox_enter(&error)) {
		report(error, "cannot check saved translations");
		return EXIT_ERROR;
	}
	blocks = engine_find("soft", NULL)->check_code(from, to, sandbox_seal, &error);
	if (blocks < 0) {
		report(error, "cannot check saved translations");
		return EXIT_ERROR;
	}
	return 0;
}

static int print_description(void)
{
	json_t *description = describe();

	json_dumpf(description, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(description);
	return 0;
}

/* The number of a descriptor, or -1. */
static int descriptor(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	return *text && !*end && fd >= 0 && fd < 1 << 20 ? fd : -1;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("lodge-vmm " LODGE_VERSION);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--describe"))
		return print_description();
	if (argc == 3 && !strcmp(argv[1], "--plan") && descriptor(argv[2]) >= 0)
		return run_plan(descriptor(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "--check-code") && descriptor(argv[2]) >= 0 &&
	    descriptor(argv[3]) >= 0)
		return check_code(descriptor(argv[2]), descriptor(argv[3]));
	fputs(usage, stderr);
	return EXIT_USAGE;
}
