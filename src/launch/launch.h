/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a domain to a running guest: the one way, for `lodge run` and for lodged.
 *
 *   domain (live) --+-- open disks, kernel, consoles, log, monitor   (the caller's authority)
 *                   +-- lodge-net for each user network
 *                   +-- plan: JSON that names them by number         (docs/plan.md)
 *                   `-- lodge-vmm --plan FD, holding these descriptors and no others
 *
 * Everything a guest uses is opened here, before its process exists; a failure says which element
 * of the XML named what could not be opened. Nothing is left behind: what launch_free() does not
 * close or remove, the kernel does when the processes end.
 *
 * A launch belongs to one thread.
 */
#ifndef LODGE_LAUNCH_LAUNCH_H
#define LODGE_LAUNCH_LAUNCH_H

#include "domain/domain.h"

#include <glib.h>
#include <jansson.h>
#include <sys/types.h>

#define LAUNCH_ERROR launch_error_quark()
enum launch_error {
	LAUNCH_ERROR_ENGINE, /* the engine asked for is not to be had */
	LAUNCH_ERROR_OPEN,   /* something the domain names cannot be opened */
	LAUNCH_ERROR_BUSY,   /* the guest, or one of its disks, is in use */
	LAUNCH_ERROR_SPAWN,  /* a program could not be started */
};
GQuark launch_error_quark(void);

/* What the first serial port ends in. */
enum launch_console {
	LAUNCH_CONSOLE_XML,    /* what the domain says */
	LAUNCH_CONSOLE_NONE,   /* nothing */
	LAUNCH_CONSOLE_CALLER, /* a socket that the caller gets: launch->console_fd */
	LAUNCH_CONSOLE_PTY,    /* a new pseudo terminal: launch->console_path */
	LAUNCH_CONSOLE_UNIX,   /* a listening socket at console_path */
	LAUNCH_CONSOLE_FILE,   /* the file console_path, emptied first */
};

/* Somebody as whom files are opened. */
struct launch_authority {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* beside that one */
	unsigned group_count;
};

/* Open files that disks use in place of their paths: <source fdgroup='GROUP'/>. */
struct launch_files {
	char *group;
	int *fds;
	unsigned count;
};

struct launch_options {
	const char *engine;     /* "auto", "soft" or "kvm"; NULL is auto */
	const char *kvm_absent; /* what auto does then: "soft" or "refuse"; NULL is soft */
	enum launch_console console;
	const char *console_path;
	unsigned short console_columns, console_rows; /* of LAUNCH_CONSOLE_CALLER; 0: not known */
	bool movable;         /* under KVM: to the software CPU and back, by the monitor */
	const char *vmm_path; /* another lodge-vmm than the one that belongs to this program */
	bool no_reboot;       /* a guest that resets ends */
	bool die_with_caller; /* the guest is killed when the calling thread ends */
	bool verbose_log;     /* log level debug */
	bool cpu_step, cpu_check_blocks, cpu_stats; /* debug switches of the software CPU */
	bool perf_map;       /* have lodge-vmm name its code in /tmp/perf-PID.map */
	const char *jitdump; /* have it write its code to jit-PID.dump in this folder, or NULL */
	const char *guest_symbols; /* with one of them: a System.map of the kernel, or NULL */
	bool saved_code;           /* keep its translations for its next start (code.c) */
	/* Where a bzImage is unpacked, "host" or "guest"; NULL: in the guest under KVM, on the host
	 * otherwise, and where movable or no_kaslr is set */
	const char *unpack;
	bool no_kaslr;    /* do not move the kernel */
	bool console_log; /* keep what the first console prints in the log directory (chardev.c) */
	bool paused;      /* the guest waits for the monitor command "cont" */
	/* As whom what the domain names is opened; NULL: as the launcher. It stays until
	 * launch_free(). */
	const struct launch_authority *authority;
	/* Disks, kernel and initrd that are opened as the launcher all the same, as they are its
	 * own volumes; ends with NULL, or is NULL. Only for launch_prepare(). */
	const char *const *pooled;
	/* Only for launch_prepare(), too; they stay the caller's. */
	const struct launch_files *files;
	unsigned file_count;
	/* Where the guest's directory, log, key and translations are kept; NULL: in the user's */
	const char *runtime_directory, *log_directory, *state_directory, *cache_directory;
};

struct launch {
	char *engine, *engine_why;
	json_t *plan;
	pid_t pid;          /* of lodge-vmm once started; 0 before and after it ended */
	int console_fd;     /* of LAUNCH_CONSOLE_CALLER: both ways; -1 otherwise */
	int messages_fd;    /* what lodge-vmm says on standard error; at its end the guest's too */
	char *console_path; /* of LAUNCH_CONSOLE_PTY and _UNIX */
	char *console_id;   /* of LAUNCH_CONSOLE_CALLER if its guest can be told a size, or NULL */
	char *log_path, *monitor_path;
	char *log_trouble;      /* why there is no log_path, or NULL */
	char *console_log_path; /* with console_log; or NULL */
	u64 console_log_start;  /* where in it this guest's output begins */
	struct launch_private *private;
};

/* --- launch.c --- */

/*
 * Opens all that @domain, a live one, needs and makes the plan. Nothing runs yet. NULL with
 * @error set when anything is lacking.
 */
struct launch *launch_prepare(const struct domain *domain, const struct launch_options *options,
			      GError **error);
/* Starts helpers and lodge-vmm; once only. */
bool launch_start(struct launch *launch, GError **error);
/* After a SIGCHLD: takes the end of a network helper and says so for a person, or NULL. Caller
 * frees. */
char *launch_helper_ended(struct launch *launch);
/* Writes the numbers of the processes that run, lodge-vmm's first, and returns how many; @max at
 * most. */
unsigned launch_processes(const struct launch *launch, pid_t *pids, unsigned max);
/* Notes in the log how the guest ended; @wait_status as of waitpid(). */
void launch_ended(struct launch *launch, int wait_status);
/* Closes what is open; a guest that still runs is killed. NULL is ignored. */
void launch_free(struct launch *launch);
/* The same, but the guest goes on, and whoever comes next finds it (find.c). */
void launch_leave(struct launch *launch);

/* --- passed.c --- */

/* Closes all of them. */
void launch_files_free(struct launch_files *files, unsigned count);

/* --- authority.c --- */

/* What the thread was before it took somebody's authority. */
struct own_authority {
	bool changed;
	gid_t *groups;
	int count;
};
/* Until authority_drop(), this thread opens files as who the options say. False: it cannot, and
 * errno is EPERM. */
bool authority_take(const struct launch_options *options, struct own_authority *own);
/* Leaves errno as it is. */
void authority_drop(struct own_authority *own);

/* --- find.c --- */

enum launch_found {
	LAUNCH_ENDED,   /* nothing of the guest runs */
	LAUNCH_RUNNING, /* it does, as process @pid */
	LAUNCH_UNKNOWN, /* something of it runs that does not say what it is: it is just starting */
};
/*
 * Looks for a guest that another process has launched with this @runtime_directory. A launcher that
 * does not die_with_caller may have ended since. The caller frees @monitor_path.
 */
enum launch_found launch_find(const char *runtime_directory, const char *name, pid_t *pid,
			      char **monitor_path);
/* What a guest that runs counts (base/statistics.h); the caller closes it. Negative: there is
 * nothing.
 */
int launch_open_statistics(const char *runtime_directory, const char *name);
/* Removes what a guest that has ended, and whose launcher has too, left in its directory. */
void launch_sweep(const char *runtime_directory, const char *name);

/* --- monitor.c --- */

/* Has lodge-vmm run a command without arguments, as "system_reset"; waits @timeout_ms at most. */
bool launch_monitor_command(const struct launch *launch, const char *command, unsigned timeout_ms,
			    GError **error);
/* Tells the guest that its console, which has a console_id, is shown in another size from now on.
 */
bool launch_resize_console(const struct launch *launch, unsigned short columns, unsigned short rows,
			   unsigned timeout_ms, GError **error);

/* --- image_info.c --- */

/* What lodge-img says of open images: an array of its JSON objects, in their order. NULL with
 * @error set: it cannot be asked. The caller unrefs it. */
json_t *launch_image_info(const int *fds, unsigned count, GError **error);

/* --- host.c --- */
/* Would KVM be chosen now? *@why, which the caller frees, says it in a phrase either way. */
bool host_has_kvm(char **why);
/* One of our own programs: *@path_or_why, which the caller frees, is where it is, or why not. */
bool host_has_program(const char *name, char **path_or_why);
/* Of the kernel's interface; 0: there is none, or it is off. */
int host_landlock_version(void);
bool host_has_seccomp(void);
/* May this user make one? */
bool host_has_user_namespaces(void);

#endif
