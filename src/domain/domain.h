/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One guest as its owner described it: the domain XML and what Lodge reads out of it.
 *
 *                    domain_parse            domain_complete              domain_make_live
 *   XML text --------------------> domain --------------------> domain -------------------> domain
 *              well-formed? each    (as      defaults, uuid,    (stored)  comforts left out, (live)
 *              value by its row?   written)  machine, PCI and             aliases; refused if
 *              nothing twice?                MAC addresses                something is lacking
 *
 * The tree is the truth: everything libvirt defines stays in it whether this version understands
 * it or not, domain_format() writes it, and the fields of struct domain are a reading of it, made
 * anew after each step. Change the tree through these functions only.
 *
 * A domain belongs to one thread at a time. Messages name FILE:LINE and the element, say what is
 * wrong and what to write instead; notes say what is worth knowing though nothing is wrong.
 */
#ifndef LODGE_DOMAIN_DOMAIN_H
#define LODGE_DOMAIN_DOMAIN_H

#include "base/number_set.h"
#include "base/types.h"

#include <glib.h>

struct _xmlDoc;

#define DOMAIN_ERROR domain_error_quark()
enum domain_error {
	DOMAIN_ERROR_XML,         /* not XML, or not a domain */
	DOMAIN_ERROR_VALUE,       /* a value that its element does not take, or none */
	DOMAIN_ERROR_CONFLICT,    /* two elements that cannot both be */
	DOMAIN_ERROR_UNSUPPORTED, /* right, but beyond this version */
	DOMAIN_ERROR_SCHEMA,      /* something that is not known there (schema.h) */
};
GQuark domain_error_quark(void);

#define DOMAIN_NAME_MAX  255
#define DOMAIN_VCPUS_MAX 255
#define DOMAIN_MACHINE   "lodge-q35-1.0" /* what "q35" is completed to */

struct domain_address {
	bool set;
	u8 bus, slot, function;
};

enum domain_lifecycle { LIFECYCLE_DESTROY, LIFECYCLE_RESTART, LIFECYCLE_PRESERVE };
enum domain_clock { CLOCK_UTC, CLOCK_LOCALTIME };

struct domain_disk {
	char *alias, *target, *path, *serial;
	char *fd_group; /* of descriptors, that it is in place of @path; or NULL */
	bool block_device, readonly, shareable, discard;
	bool raw;          /* by its <driver type>, which may be absent */
	const char *cache; /* a static string: none, writeback, writethrough, directsync, unsafe */
	/* What a failure of the host's does; static strings: stop, report, ignore, enospace */
	const char *on_write_error, *on_read_error;
	unsigned queues; /* 0: as many as there are vCPUs */
	bool ioeventfd;
	unsigned boot_order;
	struct domain_address address;
	unsigned line;
};

/* Ports first..last of the host go to to.. of the guest. */
struct domain_forward {
	bool udp;
	char *address; /* of the host; NULL for every one */
	u16 first, last, to;
};

struct domain_interface {
	char *alias, *mac;
	char *target;        /* what a running one is called, or NULL */
	GPtrArray *forwards; /* struct domain_forward */
	unsigned boot_order;
	bool link_down; /* it is there, but not plugged in */
	struct domain_address address;
	unsigned line;
};

/* CONSOLE is a virtio one: another name of a serial port is none of its own. */
enum domain_chardev_kind { CHARDEV_SERIAL, CHARDEV_DEBUGCON, CHARDEV_CONSOLE, CHARDEV_CHANNEL };
enum domain_chardev_type { CHARDEV_PTY, CHARDEV_FILE, CHARDEV_UNIX, CHARDEV_NULL, CHARDEV_STDIO };

struct domain_chardev {
	enum domain_chardev_kind kind;
	enum domain_chardev_type type;
	char *alias, *path;
	bool append;
	char *log_path; /* what it prints is written there, too; or NULL */
	bool log_append;
	bool connect;  /* unix: somebody else listens at the path */
	unsigned port; /* COM1 is 0; of consoles and channels: at their controller */
	unsigned iobase;
	char *controller; /* the alias of the virtio-serial controller of consoles and channels */
	char *name;       /* of channels */
	unsigned line;
};

enum domain_controller_kind { CONTROLLER_PCI, CONTROLLER_VIRTIO_SERIAL };

struct domain_controller {
	enum domain_controller_kind kind;
	char *alias, *model;
	unsigned index, chassis, port; /* of PCI's */
	unsigned ports;                /* of virtio-serial's */
	struct domain_address address;
	unsigned line;
};

/* One file of <sysinfo type='fwcfg'>. */
struct domain_fw_cfg {
	char *name, *text;
	char *path; /* whose content it is in place of @text, or NULL */
	unsigned line;
};

/* Where it runs on the host; an empty set: anywhere. */
struct domain_placement {
	struct number_set *vcpus; /* of each */
	struct number_set others; /* all threads that are not vCPUs */
	const char *numa_mode;    /* strict, preferred or interleave; NULL: no wish */
	struct number_set nodes;  /* with one: where guest memory comes from */
	bool huge_pages;          /* guest memory is made of pages that the host has set apart, */
	u64 huge_page_kib;        /* ... of this size; 0: the host's default */
	bool allocated;           /* all of it is there before the guest starts */
};

/* What it may use of the host (tune.c). */
enum domain_limit {
	LIMIT_CPU_SHARES,  /* a weight against other guests */
	LIMIT_VCPU_PERIOD, /* microseconds, as all periods and quotas: of each vCPU, */
	LIMIT_VCPU_QUOTA,
	LIMIT_EMULATOR_PERIOD, /* of all other threads together, */
	LIMIT_EMULATOR_QUOTA,
	LIMIT_GLOBAL_PERIOD, /* and of all together */
	LIMIT_GLOBAL_QUOTA,
	LIMIT_MEMORY_HARD, /* KiB, as the next two */
	LIMIT_MEMORY_SOFT,
	LIMIT_SWAP_HARD, /* memory and swap together */
	LIMIT_IO_WEIGHT,
	DOMAIN_LIMITS
};
enum domain_io_limit {
	IO_LIMIT_WEIGHT,
	IO_LIMIT_READ_IOPS,
	IO_LIMIT_WRITE_IOPS,
	IO_LIMIT_READ_BYTES,
	IO_LIMIT_WRITE_BYTES,
	DOMAIN_IO_LIMITS
};

#define DOMAIN_MEMORY_UNLIMITED 9007199254740991ull /* KiB: how clients write "no limit" */

/* Of one block device of the host. */
struct domain_io_device {
	char *path;
	u64 amounts[DOMAIN_IO_LIMITS]; /* 0: none */
};

struct domain_limits {
	s64 amounts[DOMAIN_LIMITS]; /* 0 or, of quotas, below: none */
	GPtrArray *devices;         /* struct domain_io_device */
};

struct domain_device {
	char *alias, *model;
	struct domain_address address;
	unsigned line;
};

struct domain {
	struct _xmlDoc *doc; /* NULL: it is folded */
	char *text;          /* of one that is */
	char *file;          /* as messages name it */
	char *directory;     /* relative paths begin here; NULL: they are refused */
	GPtrArray *notes;    /* char *: what is worth knowing */

	char *name, *uuid, *machine;
	u64 memory_kib, current_kib;
	u64 code_cache_kib; /* of the software CPU; 0: its default */
	bool memory_shared; /* memoryBacking: a memfd, or shared access */
	unsigned vcpus, vcpus_current;
	struct domain_placement placement;
	struct domain_limits limits;
	struct {
		unsigned sockets, dies, cores, threads;
	} topology;
	struct {
		const char *mode;   /* custom, host-model, host-passthrough, maximum; NULL */
		char *model;        /* of custom */
		GPtrArray *disable; /* char *: names of features the guest must not see */
		unsigned line;
		GPtrArray *require; /* char *: names of features it must see */
	} cpu;
	char *kernel, *initrd, *cmdline; /* kernel is NULL when the guest boots by other means */
	unsigned os_line;
	GPtrArray *fw_cfg; /* struct domain_fw_cfg */
	enum domain_clock clock;
	enum domain_lifecycle on_poweroff, on_reboot, on_crash;
	/* of the structs above; domain_device the last three */
	GPtrArray *disks, *interfaces, *chardevs, *controllers, *rngs, *watchdogs, *panics;
	struct domain_device *memballoon; /* or NULL */
	char *watchdog_action;            /* of all watchdogs; NULL: there are none */
};

/* --- domain.c --- */

/*
 * Reads and checks XML. @file names it in messages; relative paths in it are taken from
 * @directory (NULL refuses them). Both are copied. Free with domain_free().
 */
struct domain *domain_parse(const char *text, size_t length, const char *file,
			    const char *directory, GError **error);
/* The same, and completed at once (domain_complete()). */
struct domain *domain_parse_complete(const char *text, size_t length, const char *file,
				     GError **error);
/* The same for a file, "-" being standard input, as it was written. */
struct domain *domain_parse_file(const char *path, GError **error);
void domain_free(struct domain *domain);

/*
 * Keeps the XML as text and not as a tree, which takes twenty times the room. A folded domain is
 * for reading: it is formatted, and made live; nothing of it is changed any more.
 */
void domain_fold(struct domain *domain);
/* The same with what domain_format() has just made of it, which is taken over. */
void domain_fold_as(struct domain *domain, char *text);
/* A copy of the tree, also of a folded domain; the caller frees it. */
struct _xmlDoc *domain_tree(const struct domain *domain);

/* The whole XML as libvirt's tools lay it out; the caller frees it. */
char *domain_format(const struct domain *domain);
/* The same without what only its owner may know: passwords. */
char *domain_format_public(const struct domain *domain);

/* --- forward.c --- */

/*
 * Adds a port forward, "[tcp:|udp:][ADDRESS:]PORT:GUESTPORT", to the first user interface; without
 * an address, from this host (127.0.0.1) only. Before domain_complete().
 */
bool domain_add_forward(struct domain *domain, const char *text, GError **error);

/* --- tune.c --- */

/* Is there any limit that a cgroup would have to hold? */
bool domain_has_limits(const struct domain *domain);
struct domain_limits *domain_limits_copy(const struct domain_limits *limits);
void domain_limits_free(struct domain_limits *limits);

/* --- complete.c --- */

/*
 * Fills in what the owner left open, so that it stays the same from now on: uuid, machine,
 * defaults, controllers, addresses. Completing twice changes nothing.
 */
bool domain_complete(struct domain *domain, GError **error);

/* --- live.c --- */

/*
 * The completed @domain as this version can run it: a new domain without the comforts that are
 * lacking, with an alias for every device. @left_out gets one sentence that names them, or NULL
 * when there are none; the caller frees it. Fails, naming element and line, when the guest asks
 * for something it cannot do without.
 */
struct domain *domain_make_live(const struct domain *domain, char **left_out, GError **error);

/* --- units.c --- */

/* Bytes of @number @unit (KiB when @unit is NULL); false when it is no amount or too large. */
bool domain_size_bytes(const char *number, const char *unit, u64 *bytes);

#endif
