/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order of a launch, and its undoing. See launch.h. */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

GQuark launch_error_quark(void)
{
	return g_quark_from_static_string("lodge-launch");
}

/* --- the log --- */

void write_log(const struct launch *launch, const char *fmt, ...)
{
	GDateTime *now;
	char *stamp, *text;
	va_list args;

	if (launch->private->log_fd < 0)
		return;
	now = g_date_time_new_now_utc();
	stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);
	dprintf(launch->private->log_fd, "%s info launch: %s\n", stamp, text);
	g_free(text);
	g_free(stamp);
	g_date_time_unref(now);
}

/* --- opening --- */

static void free_net(gpointer data)
{
	struct opened_net *net = data;

	if (net->helper_fd >= 0)
		close(net->helper_fd);
	g_ptr_array_unref(net->forwards);
	g_free(net);
}

static struct launch *new_launch(const struct domain *domain, const struct launch_options *options)
{
	struct launch *launch = g_new0(struct launch, 1);
	struct launch_private *p = g_new0(struct launch_private, 1);

	launch->console_fd = launch->messages_fd = -1;
	launch->private = p;
	p->domain = domain;
	p->options = *options;
	p->name = g_strdup(domain->name);
	p->kernel = p->initrd = p->log = p->monitor = -1;
	p->log_fd = p->lock_fd = p->messages_child_fd = -1;
	p->disks = g_ptr_array_new_with_free_func(g_free);
	p->consoles = g_ptr_array_new_with_free_func(g_free);
	p->nets = g_ptr_array_new_with_free_func(free_net);
	p->fw_cfg = g_ptr_array_new_with_free_func(g_free);
	p->sockets = g_ptr_array_new_with_free_func(g_free);
	fd_map_init(&p->map);
	return launch;
}

/* Why @fd cannot be a kernel or an initrd, or NULL. What is in it is lodge-vmm's to judge. */
static const char *not_a_boot_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return g_strerror(errno);
	if (S_ISDIR(st.st_mode))
		return "it is a directory; name a file in it";
	return S_ISREG(st.st_mode) && !st.st_size ? "it is empty; was it written completely?"
						  : NULL;
}

static bool open_boot_file(struct launch *launch, const char *element, const char *path,
			   int *number, GError **error)
{
	struct launch_private *p = launch->private;
	const char *why;
	int fd;

	if (!path)
		return true;
	/* without waiting for whoever writes to a pipe */
	fd = authority_open_volume(&p->options, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s:%u: <%s>: cannot open %s: %s; correct the path, or make the file "
			    "readable",
			    p->domain->file, p->domain->os_line, element, path, g_strerror(errno));
		return false;
	}
	why = not_a_boot_file(fd);
	if (why) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s:%u: <%s>: cannot boot %s: %s", p->domain->file, p->domain->os_line,
			    element, path, why);
		close(fd);
		return false;
	}
	*number = fd_map_add(&p->map, fd);
	return true;
}

static bool open_symbols(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	const char *path = p->options.guest_symbols, *why = NULL;
	struct stat st;
	int fd;

	if (!path)
		return true;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		why = g_strerror(errno);
	else if (!S_ISREG(st.st_mode))
		why = "it is not a regular file";
	if (why) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "cannot open the guest's symbols %s: %s", path, why);
		if (fd >= 0)
			close(fd);
		return false;
	}
	p->guest_symbols = fd_map_add(&p->map, fd);
	return true;
}

static bool open_disks(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;

	for (unsigned i = 0; i < p->domain->disks->len; i++) {
		struct opened_disk *opened;
		int fd = image_open(p->domain, p->domain->disks->pdata[i], &p->options, error);

		if (fd < 0)
			return false;
		opened = g_new0(struct opened_disk, 1);
		opened->disk = p->domain->disks->pdata[i];
		opened->number = fd_map_add(&p->map, fd);
		g_ptr_array_add(p->disks, opened);
	}
	return true;
}

static bool open_messages(struct launch *launch, GError **error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) || fcntl(ends[0], F_SETFL, O_NONBLOCK)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "cannot make a pipe: %s",
			    g_strerror(errno));
		return false;
	}
	launch->messages_fd = ends[0];
	launch->private->messages_child_fd = ends[1];
	return true;
}

/* <hugepages/> without a size means the host's default, which lodge-vmm cannot look up itself. */
static bool find_huge_page(struct launch_private *p, GError **error)
{
	const struct domain_placement *placement = &p->domain->placement;
	g_autofree char *text = NULL;
	const char *line;

	if (!placement->huge_pages)
		return true;
	p->huge_page_kib = placement->huge_page_kib;
	if (!p->huge_page_kib && g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
		line = strstr(text, "Hugepagesize:");
		p->huge_page_kib =
			line ? g_ascii_strtoull(line + strlen("Hugepagesize:"), NULL, 10) : 0;
	}
	if (!p->huge_page_kib)
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s: <hugepages>: the host's kernel has none; remove it",
			    p->domain->file);
	return p->huge_page_kib;
}

static bool open_all(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	const struct domain *domain = p->domain;

	p->features_off = cpu_features_off(domain, error);
	return p->features_off && find_huge_page(p, error) &&
	       engine_choose(launch, p->options.engine, p->options.kvm_absent, error) &&
	       runtime_open(launch, error) &&
	       open_boot_file(launch, "kernel", domain->kernel, &p->kernel, error) &&
	       open_boot_file(launch, "initrd", domain->initrd, &p->initrd, error) &&
	       open_symbols(launch, error) && open_disks(launch, error) &&
	       chardevs_open(launch, error) && fw_cfg_read(launch, error) &&
	       nets_open(launch, error) && open_messages(launch, error);
}

struct launch *launch_prepare(const struct domain *domain, const struct launch_options *options,
			      GError **error)
{
	struct launch *launch = new_launch(domain, options);

	/* named after a process that is yet to be: spawn.c makes them */
	if (options->perf_map)
		launch->private->perf_map = fd_map_add(&launch->private->map, -1);
	if (options->jitdump)
		launch->private->jitdump = fd_map_add(&launch->private->map, -1);
	if (open_all(launch, error)) {
		code_open(launch);
		launch->plan = plan_make(launch);
	}
	launch->private->domain = NULL;
	if (!launch->plan) {
		launch_free(launch);
		return NULL;
	}
	return launch;
}

/* --- starting --- */

/* The plan in a file without a name, read from its beginning. */
static int plan_descriptor(const struct launch *launch, GError **error)
{
	int fd = memfd_create("plan", MFD_CLOEXEC);

	if (fd < 0 || json_dumpfd(launch->plan, fd, JSON_COMPACT) || lseek(fd, 0, SEEK_SET)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot write the plan: %s",
			    g_strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static bool start_vmm(struct launch *launch, const char *path, GError **error)
{
	struct launch_private *p = launch->private;
	char number[16];
	const char *argv[] = { path, "--plan", number, NULL };
	g_autofree char *dump =
		g_strconcat(p->options.jitdump ? p->options.jitdump : "", "/jit-", NULL);
	/* perf's documentation, jit-interface.txt and jitdump-specification.txt */
	const struct spawn_file map = { p->perf_map, "/tmp/perf-", ".map", false };
	const struct spawn_file code = { p->jitdump, dump, ".dump", true };
	const struct spawn spawn = { .argv = argv,
				     .map = &p->map,
				     .in = -1,
				     .out = -1,
				     .err = p->messages_child_fd,
				     .files = { map, code },
				     .die_with_parent = p->options.die_with_caller,
				     .pid_fd = p->lock_fd };
	int plan = plan_descriptor(launch, error);

	if (plan < 0)
		return false;
	g_snprintf(number, sizeof(number), "%d", fd_map_add(&p->map, plan));
	launch->pid = spawn_program(&spawn, error);
	if (launch->pid < 0)
		launch->pid = 0;
	return launch->pid > 0;
}

bool launch_start(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	char *path = p->options.vmm_path ? g_strdup(p->options.vmm_path)
					 : spawn_find("lodge-vmm", error);
	char *text = json_dumps(launch->plan, JSON_COMPACT);
	bool good;

	g_assert(!p->started);
	p->started = true;
	write_log(launch, "starting with engine %s: %s", launch->engine, launch->engine_why);
	write_log(launch, "plan %s", text);
	good = path && nets_start(launch, error) && start_vmm(launch, path, error);
	/* what the children hold is theirs now: their ends must close when they end */
	fd_map_clear(&p->map);
	close(p->messages_child_fd);
	p->messages_child_fd = -1;
	if (good)
		write_log(launch, "lodge-vmm is process %d", launch->pid);
	free(text);
	g_free(path);
	return good;
}

unsigned launch_processes(const struct launch *launch, pid_t *pids, unsigned max)
{
	const GPtrArray *nets = launch->private->nets;
	unsigned count = 0;

	if (launch->pid && count < max)
		pids[count++] = launch->pid;
	for (guint i = 0; i < nets->len && count < max; i++)
		if (((struct opened_net *)nets->pdata[i])->helper > 0)
			pids[count++] = ((struct opened_net *)nets->pdata[i])->helper;
	return count;
}

void launch_ended(struct launch *launch, int wait_status)
{
	launch->pid = 0;
	if (WIFSIGNALED(wait_status))
		write_log(launch, "lodge-vmm was killed by signal %d", WTERMSIG(wait_status));
	else
		write_log(launch, "lodge-vmm ended with status %d", WEXITSTATUS(wait_status));
	code_store(launch);
}

/* --- undoing --- */

static void end_process(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void launch_leave(struct launch *launch)
{
	struct launch_private *p = launch->private;

	launch->pid = 0;
	for (unsigned i = 0; i < p->nets->len; i++)
		((struct opened_net *)p->nets->pdata[i])->helper = 0;
	g_ptr_array_set_size(p->sockets, 0);
	g_clear_pointer(&p->directory, g_free);
	launch_free(launch);
}

void launch_free(struct launch *launch)
{
	struct launch_private *p;

	if (!launch)
		return;
	p = launch->private;
	end_process(launch->pid);
	for (unsigned i = 0; i < p->nets->len; i++)
		end_process(((struct opened_net *)p->nets->pdata[i])->helper);
	g_clear_pointer(&p->features_off, g_ptr_array_unref);
	fd_map_clear(&p->map);
	runtime_close(launch);
	if (launch->console_fd >= 0)
		close(launch->console_fd);
	if (launch->messages_fd >= 0)
		close(launch->messages_fd);
	if (p->messages_child_fd >= 0)
		close(p->messages_child_fd);
	g_ptr_array_unref(p->disks);
	g_ptr_array_unref(p->consoles);
	g_ptr_array_unref(p->nets);
	g_ptr_array_unref(p->fw_cfg);
	g_ptr_array_unref(p->sockets);
	code_close(launch);
	g_free(p->name);
	g_free(p->directory);
	g_free(p);
	json_decref(launch->plan);
	g_free(launch->engine);
	g_free(launch->engine_why);
	g_free(launch->console_path);
	g_free(launch->console_id);
	g_free(launch->console_log_path);
	g_free(launch->log_trouble);
	g_free(launch->log_path);
	g_free(launch->monitor_path);
	g_free(launch);
}
