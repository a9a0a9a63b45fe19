/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge report: what whoever mends a bug wants to know, in one file. Most of it is what other
 * commands say, so those are run; definitions are without passwords, as dumpxml prints them.
 */
#include "cli/daemon.h"
#include "cli/logs.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LOG_BYTES_MAX (1 << 20) /* of each log, the last */

struct report {
	struct archive *archive;
	const char *top; /* folder in the archive */
	const char *uri; /* or NULL */
	unsigned files;
	bool failed;
};

static void add(struct report *r, const char *name, const char *bytes, size_t n)
{
	g_autofree char *path = g_strdup_printf("%s/%s", r->top, name);
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, path);
	archive_entry_set_size(entry, n);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_mtime(entry, g_get_real_time() / G_USEC_PER_SEC, 0);
	if (archive_write_header(r->archive, entry) != ARCHIVE_OK ||
	    archive_write_data(r->archive, bytes, n) != (la_ssize_t)n)
		r->failed = true;
	archive_entry_free(entry);
	r->files++;
}

/* What a command of ours says; errors in a file beside it. */
static void add_command(struct report *r, const char *file, const char *command, const char *first,
			const char *second)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	const char *argv[8] = { self }, **next = argv + 1;
	g_autofree char *beside = g_strconcat(file, ".errors", NULL);
	g_autofree char *said = NULL, *errors = NULL;
	g_autoptr(GError) error = NULL;

	if (r->uri) {
		*next++ = "--connect";
		*next++ = r->uri;
	}
	*next++ = command;
	*next++ = first;
	if (first)
		*next++ = second;
	if (!g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, &said, &errors, NULL, &error))
		errors = g_strdup(error->message);
	if (said)
		add(r, file, said, strlen(said));
	if (*errors)
		add(r, beside, errors, strlen(errors));
}

/* The end of a file, which need not be there. */
static void add_log(struct report *r, const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	g_autofree char *bytes = g_malloc(LOG_BYTES_MAX);
	off_t size;
	ssize_t n;

	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	n = pread(fd, bytes, LOG_BYTES_MAX, MAX(0, size - LOG_BYTES_MAX));
	close(fd);
	if (n >= 0)
		add(r, name, bytes, n);
}

static void add_guest(struct report *r, const char *guest, const char *folder)
{
	static const char *const logs[] = { ".log.1", ".log", ".console.log" };
	g_autofree char *info = g_strdup_printf("guests/%s.json", guest);
	g_autofree char *live = g_strdup_printf("guests/%s.xml", guest);
	g_autofree char *inactive = g_strdup_printf("guests/%s.inactive.xml", guest);

	add_command(r, info, "dominfo", guest, "--json");
	add_command(r, live, "dumpxml", guest, NULL);
	add_command(r, inactive, "dumpxml", guest, "--inactive");
	for (unsigned i = 0; folder && i < G_N_ELEMENTS(logs); i++) {
		g_autofree char *path = g_strconcat(folder, "/", guest, logs[i], NULL);
		g_autofree char *name = g_strconcat("logs/", guest, logs[i], NULL);

		add_log(r, name, path);
	}
}

static void add_versions(struct report *r)
{
	g_autofree char *system = NULL, *text = NULL;
	struct utsname host;

	uname(&host);
	g_file_get_contents("/etc/os-release", &system, NULL, NULL);
	text = g_strdup_printf("lodge " LODGE_VERSION "\nLinux %s %s %s\n%s", host.release,
			       host.version, host.machine, system ? system : "");
	add(r, "versions.txt", text, strlen(text));
}

static void add_all(struct report *r, const char *guest)
{
	g_autoptr(GPtrArray) names =
		guest ? g_ptr_array_new() : daemon_names_at(r->uri, ARGUMENT_GUEST);
	g_autofree char *folder = logs_folder(r->uri);
	g_autofree char *daemon = folder ? g_build_filename(folder, "lodged.log", NULL) : NULL;

	if (guest)
		g_ptr_array_add(names, (gpointer)guest);
	add_versions(r);
	add_command(r, "doctor.json", "doctor", "--json", NULL);
	add_command(r, "daemon.txt", "uri", NULL, NULL);
	add_command(r, "node.json", "nodeinfo", "--json", NULL);
	add_command(r, "capabilities.xml", "capabilities", NULL, NULL);
	add_command(r, "domcapabilities.xml", "domcapabilities", NULL, NULL);
	add_command(r, "guests.json", "list", "--all", "--json");
	add_command(r, "networks.json", "net-list", "--all", "--json");
	add_command(r, "pools.json", "pool-list", "--all", "--json");
	if (daemon)
		add_log(r, "logs/lodged.log", daemon);
	for (unsigned i = 0; i < names->len; i++)
		if (!strchr(names->pdata[i], '/'))
			add_guest(r, names->pdata[i], folder);
}

/* A guest that is defined or runs, or that has left a log. */
static bool is_known(const char *guest, const char *uri)
{
	g_autoptr(GPtrArray) names = daemon_names_at(uri, ARGUMENT_GUEST);
	g_autofree char *folder = logs_folder(uri), *name = g_strconcat(guest, ".log", NULL);
	g_autofree char *path = folder ? g_build_filename(folder, name, NULL) : NULL;

	for (unsigned i = 0; i < names->len; i++)
		if (!strcmp(names->pdata[i], guest))
			return true;
	return !strchr(guest, '/') && path && !access(path, R_OK);
}

static int report(const struct invocation *invocation)
{
	const char *guest = argument(invocation, 0);
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *top = g_date_time_format(now, "lodge-report-%Y%m%d-%H%M%S");
	g_autofree char *name = g_strconcat(top, ".tar.gz", NULL);
	const char *output = invocation_value(invocation, "--output");
	struct report r = { archive_write_new(), top, invocation_value(invocation, "--connect") };
	const char *path = output ? output : name;
	int fd;

	if (guest && !is_known(guest, r.uri)) {
		fprintf(stderr, "lodge report: there is no guest '%s', nor a log of one\n", guest);
		archive_write_free(r.archive);
		return 1;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "lodge report: %s: %s\n", path, g_strerror(errno));
		archive_write_free(r.archive);
		return 1;
	}
	archive_write_add_filter_gzip(r.archive);
	archive_write_set_format_pax_restricted(r.archive);
	archive_write_set_bytes_in_last_block(r.archive, 1);
	r.failed = archive_write_open_fd(r.archive, fd) != ARCHIVE_OK;
	if (!r.failed)
		add_all(&r, guest);
	if (archive_write_close(r.archive) != ARCHIVE_OK || close(fd))
		r.failed = true;
	if (r.failed) {
		const char *why = archive_error_string(r.archive);

		fprintf(stderr, "lodge report: %s: %s\n", path, why ? why : "it cannot be written");
		unlink(path);
	} else {
		printf("%s: %u files. It has no passwords that Lodge knows of; names, addresses "
		       "and "
		       "logs it has: look through it before you send it.\n",
		       path, r.files);
	}
	archive_write_free(r.archive);
	return r.failed ? 1 : 0;
}

static const struct command_option options[] = {
	{ "--output", VALUE_FILE, "FILE", "a new file (default: lodge-report-TIME.tar.gz here)" },
	CONNECT_OPTION,
	{},
};

const struct command commands_report[] = {
	{ .name = "report",
	  .arguments = "[GUEST]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_max = 1,
	  .summary = "a bundle of what belongs to a report of a bug",
	  .description = "Writes versions, what 'lodge doctor' finds, definitions without "
			 "passwords, and the ends of\n"
			 "logs into one file: of all guests, or of one.",
	  .options = options,
	  .action = report },
	{},
};
