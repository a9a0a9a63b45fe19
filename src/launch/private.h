/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the launch room share. */
#ifndef LODGE_LAUNCH_PRIVATE_H
#define LODGE_LAUNCH_PRIVATE_H

#include "launch/launch.h"

#define STATISTICS_FILE "statistics" /* in the guest's directory */
#define FIRST_PASSED_FD 3            /* 0 to 2 are the standard streams */

/*
 * The descriptors a child gets. The entry at index i will be number FIRST_PASSED_FD + i in the
 * child; here it has some other number and is close-on-exec. -1 reserves a number: /dev/null.
 */
struct fd_map {
	GArray *fds; /* int, owned */
};

struct launch_private {
	const struct domain *domain; /* during launch_prepare() only */
	struct launch_options options;
	struct fd_map map;
	GPtrArray *features_off;          /* char *: Linux's names */
	GPtrArray *disks;                 /* struct opened_disk */
	GPtrArray *consoles;              /* struct opened_console */
	GPtrArray *nets;                  /* struct opened_net */
	GPtrArray *fw_cfg;                /* char *: in base64, in the domain's order */
	int kernel, initrd, log, monitor; /* numbers in the child; -1: none */
	u64 huge_page_kib;                /* what guest memory is made of; 0: common pages */
	int statistics;                   /* the same; 0: none */
	int kvm;                          /* the same; 0: none */
	int perf_map, jitdump;            /* the same; 0: none */
	int guest_symbols;
	int code_from, code_to; /* saved translations: the old ones, the new ones; 0: none */
	int code_fd;            /* our own of @code_to */
	char *name;             /* the guest's */
	int log_fd, lock_fd;    /* our own */
	int messages_child_fd;  /* lodge-vmm's standard error */
	char *directory;        /* for the guest's sockets while it runs */
	GPtrArray *sockets;     /* char *: paths to remove at the end */
	bool started;
};

struct opened_disk {
	const struct domain_disk *disk;
	int number;
};

struct opened_console {
	const struct domain_chardev *chardev;
	const char *driver;
	int number;                   /* -1 for driver "null" */
	int log, log_old;             /* what it prints, and what it printed before; 0: not kept */
	unsigned short columns, rows; /* 0: not known */
};

struct opened_net {
	const struct domain_interface *interface;
	int number;          /* the guest's end */
	int helper_fd;       /* lodge-net's end, ours until it is started; then -1 */
	GPtrArray *forwards; /* char *: lodge-net's --forward values */
	pid_t helper;
};

/* --- fdmap.c --- */
void fd_map_init(struct fd_map *map);
void fd_map_clear(struct fd_map *map);
/* Takes over @fd, or -1; returns its number in the child. */
int fd_map_add(struct fd_map *map, int fd);

/* --- spawn.c --- */
/* A new file, named after the process that is to hold it. */
struct spawn_file {
	int number;              /* reserved in the map; 0: no such file */
	const char *begin, *end; /* of its path: the process id stands between them */
	bool readable;
};
#define SPAWN_FILES 2

struct spawn {
	const char *const *argv; /* argv[0] is the path */
	const struct fd_map *map;
	int in, out, err; /* descriptors for the standard streams; -1: /dev/null */
	struct spawn_file files[SPAWN_FILES]; /* for perf */
	bool die_with_parent; /* else it has a session of its own, which no terminal reaches */
	int pid_fd;           /* gets a line with the child's process id, if it is not 0 */
};
/* Runs a program that holds its standard streams and the map's descriptors and nothing else. */
pid_t spawn_program(const struct spawn *spawn, GError **error);
/* The path of one of our own programs: beside the running one, or in libexec; caller frees. */
char *spawn_find(const char *name, GError **error);

/* --- code.c --- */
/* Opens what an earlier start of the guest has translated, and memory for what this one does. */
void code_open(struct launch *launch);
/* The guest has ended: keeps its translations. */
void code_store(struct launch *launch);
void code_close(struct launch *launch);

/* --- launch.c --- */
void write_log(const struct launch *launch, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* --- authority.c --- */
/* As open(2), with the options' authority. */
int authority_open(const struct launch_options *options, const char *path, int flags, mode_t mode);
/* The same for what may be one of the launcher's volumes: a disk, a kernel, an initrd. */
int authority_open_volume(const struct launch_options *options, const char *path, int flags);

/* --- engine.c --- */
bool engine_choose(struct launch *launch, const char *wanted, const char *absent, GError **error);

/* --- kvm.c --- */
/* /dev/kvm if it can run a guest; else -1, and *@why says why not. Caller frees. */
int kvm_open(char **why);
/* Does the host's kernel keep time by its TSC? */
bool kvm_tsc_is_stable(void);

/* --- cpu.c --- */
/* Linux's names of the CPU features that the guest must not see; caller unrefs. */
GPtrArray *cpu_features_off(const struct domain *domain, GError **error);
/* The same of those without which the guest must not start. */
GPtrArray *cpu_features_required(const struct domain *domain);
/* Under KVM: a named model has no more than it has on the software CPU. */
void cpu_hide_hardware(const struct domain *domain, GPtrArray *off);

/* --- passed.c --- */
/* A disk that is one of the files passed; -1 with *@why, which the caller frees, set. */
int passed_open(const struct launch_options *options, const struct domain_disk *disk, char **why);

/* --- image.c --- */
/* Opens a disk's image and locks it; -1 with @error set. */
int image_open(const struct domain *domain, const struct domain_disk *disk,
	       const struct launch_options *options, GError **error);

/* --- runtime.c --- */
/* Makes and locks the guest's directory, opens log and monitor socket. */
bool runtime_open(struct launch *launch, GError **error);
void runtime_close(struct launch *launch);
/* A listening UNIX socket at @path; -1 with @error set. The path is removed at the end. */
int runtime_listen(struct launch *launch, const char *path, GError **error);

/* --- chardev.c --- */
#define CONSOLE_LOG_BYTES (2 * MIB) /* of a console's log, and once more of what was before */
bool chardevs_open(struct launch *launch, GError **error);

/* --- fw_cfg.c --- */
bool fw_cfg_read(struct launch *launch, GError **error);

/* --- net.c --- */
bool nets_open(struct launch *launch, GError **error);
bool nets_start(struct launch *launch, GError **error);

/* --- plan.c --- */
json_t *plan_make(const struct launch *launch);

#endif
