/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodged's settings. One table has them all, and a value goes the same way, take(), whether it
 * stands on the command line or in the settings file: neither knows a setting that the other has
 * forgotten. The command line comes first, because it says which file is read; what it says holds,
 * and the file's value is then checked and dropped.
 *
 * Whoever writes the file does what lodged may, so it is read only if nobody else could write it.
 */
#include "daemon/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_FILE  "/etc/lodge/lodged.conf"
#define PATIENCE     90
#define PATIENCE_MAX 86400
#define MODE_MIN     0600
#define MODE_MAX     0777

enum kind { KIND_FLAG, KIND_TEXT, KIND_PATH, KIND_LIST, KIND_WORD, KIND_SECONDS, KIND_MODE };

struct setting {
	const char *name; /* on the command line after -- */
	enum kind kind;
	size_t field; /* in struct settings: char *, char ** of a list, bool or int */
	const char *argument, *help;
	const char *const *words; /* of KIND_WORD */
	bool line_only;
};

static const char *const engines[] = { "auto", "kvm", "soft", NULL };
static const char *const absent[] = { "soft", "refuse", NULL };

#define AT(field) offsetof(struct settings, field)

static const struct setting all[] = {
	{ "root", KIND_PATH, AT(root), "DIR", "keep everything below DIR", .line_only = true },
	{ "system", KIND_FLAG, AT(system), NULL, "serve the system: libvirt's system socket",
	  .line_only = true },
	{ "session", KIND_FLAG, AT(session), NULL, "serve this user: libvirt's session socket",
	  .line_only = true },
	{ "config", KIND_PATH, AT(config), "FILE", "read the settings of FILE: see lodged.conf(5)",
	  .line_only = true },
	{ "engine", KIND_WORD, AT(engine), "ENGINE", "what runs the processors: auto, kvm or soft",
	  engines },
	{ "kvm-absent", KIND_WORD, AT(kvm_absent), "WHAT",
	  "what auto does without KVM: soft or refuse", absent },
	{ "movable", KIND_FLAG, AT(movable), NULL,
	  "make guests under KVM so that they can move to the software CPU and back" },
	{ "group", KIND_TEXT, AT(group), "GROUP",
	  "who may have guests beside root: libvirt or lodge with --system, none otherwise" },
	{ "trust", KIND_TEXT, AT(trust), "USER",
	  "who may do what root may, as libvirtdbus, whom Cockpit asks" },
	{ "socket-mode", KIND_MODE, AT(socket_mode), "MODE",
	  "of the socket: 0660 where there is a group, else 0600" },
	{ "socket-ro-mode", KIND_MODE, AT(socket_ro_mode), "MODE",
	  "of the socket for those who only read: 0666" },
	{ "cgroup", KIND_PATH, AT(cgroup), "FOLDER",
	  "hold guests to their limits by cgroups made in FOLDER, not by systemd's scopes" },
	{ "listen-tls", KIND_TEXT, AT(remote.tls), "ADDRESS",
	  "serve who has a certificate, too: ADDRESS[:PORT], '' for all addresses" },
	{ "listen-tcp", KIND_TEXT, AT(remote.tcp), "ADDRESS",
	  "serve this host's users by TCP, too: localhost[:PORT]" },
	{ "pki", KIND_PATH, AT(remote.pki), "DIR",
	  "where cacert.pem, servercert.pem and serverkey.pem are" },
	{ "tls-allow", KIND_LIST, AT(remote.allow), "NAME",
	  "only certificates of these names; * and ? stand for what may vary" },
	{ "log", KIND_PATH, AT(log), "FILE",
	  "write the log to FILE, not to standard error or the journal" },
	{ "patience", KIND_SECONDS, AT(patience_seconds), "SECONDS",
	  "how long guests may take to power off when the host does: 90" },
	{ "verbose", KIND_FLAG, AT(verbose), NULL, "write more into the log" },
	{ "vmm", KIND_PATH, AT(vmm), "PROGRAM", "for debugging: another lodge-vmm" },
	{ "version", KIND_FLAG, AT(version), NULL, "print the version", .line_only = true },
};

_Static_assert(ARRAY_LEN(all) <= 64, "a bit each, in struct reading");

static const char description[] =
	"Keeps guests' definitions, starts and watches guests, and serves libvirt's clients: "
	"virsh,\n"
	"virt-install, virt-manager, python-libvirt. It stays in the foreground; SIGTERM or "
	"SIGINT\n"
	"ends it. Guests run on, and the lodged that is started next takes them over. SIGUSR1 "
	"powers\n"
	"guests down and then ends it.\n"
	"\n"
	"One of --root, --system and --session says where it keeps things and where clients find "
	"it:\n"
	"  --root DIR  everything below DIR; clients use\n"
	"              qemu+unix:///system?socket=DIR/run/lodged-sock\n"
	"  --system    /var/lib/lodge, /run/lodge, /var/log/lodge and libvirt's system socket\n"
	"  --session   the user's directories and libvirt's session socket\n"
	"Most options may stand in a file instead: DIR/lodged.conf, /etc/lodge/lodged.conf or\n"
	"~/.config/lodge/lodged.conf. The command line wins.\n";

struct reading {
	struct settings *settings;
	u64 on_line, in_file; /* what was given there, by its place in the table */
};

static u64 bit_of(const struct setting *setting)
{
	return 1ull << (setting - all);
}

static const struct setting *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		if (!strcmp(all[i].name, name))
			return &all[i];
	}
	return NULL;
}

/* --- one value. Errors go on where the setting's name ends --- */

static void take_text(char **field, const char *value)
{
	g_free(*field);
	*field = g_strdup(value);
}

static void take_one_more(char ***field, const char *value)
{
	guint n = *field ? g_strv_length(*field) : 0;

	*field = g_renew(char *, *field, n + 2);
	(*field)[n] = g_strdup(value);
	(*field)[n + 1] = NULL;
}

static bool take_word(char **field, const char *value, const char *const *words, GError **error)
{
	g_autofree char *known = NULL;

	if (g_strv_contains(words, value)) {
		take_text(field, value);
		return true;
	}
	known = g_strjoinv(", ", (char **)words);
	return daemon_refuse(error, 0, "is one of %s, not '%s'", known, value);
}

/* An option without a value says yes. */
static bool take_flag(bool *field, const char *value, GError **error)
{
	*field = !value || !strcmp(value, "yes");
	return *field || !strcmp(value, "no") ||
	       daemon_refuse(error, 0, "is yes or no, not '%s'", value);
}

static bool take_seconds(int *field, const char *value, GError **error)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(value, 10, 0, PATIENCE_MAX, &number, NULL))
		return daemon_refuse(error, 0, "takes 0 to %d seconds, not '%s'", PATIENCE_MAX,
				     value);
	*field = (int)number;
	return true;
}

static bool take_mode(int *field, const char *value, GError **error)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(value, 8, MODE_MIN, MODE_MAX, &number, NULL))
		return daemon_refuse(error, 0, "takes an octal mode from %04o to %04o, not '%s'",
				     MODE_MIN, MODE_MAX, value);
	*field = (int)number;
	return true;
}

static bool take(struct settings *settings, const struct setting *setting, const char *value,
		 GError **error)
{
	void *field = (char *)settings + setting->field;

	switch (setting->kind) {
	case KIND_FLAG: return take_flag(field, value, error);
	case KIND_WORD: return take_word(field, value, setting->words, error);
	case KIND_SECONDS: return take_seconds(field, value, error);
	case KIND_MODE: return take_mode(field, value, error);
	case KIND_LIST: take_one_more(field, value); break;
	case KIND_TEXT:
	case KIND_PATH: take_text(field, value); break;
	}
	return true;
}

/* --- the command line --- */

static gboolean on_option(const char *option, const char *value, void *opaque, GError **error)
{
	struct reading *reading = opaque;
	const struct setting *setting = find(option + strlen("--"));

	reading->on_line |= bit_of(setting);
	if (take(reading->settings, setting, value, error))
		return TRUE;
	g_prefix_error(error, "%s ", option);
	return FALSE;
}

static GOptionEntry entry_of(const struct setting *setting)
{
	GOptionEntry entry = { .long_name = setting->name,
			       .arg = G_OPTION_ARG_CALLBACK,
			       .arg_data = (void *)on_option,
			       .description = setting->help,
			       .arg_description = setting->argument };

	if (setting->kind == KIND_PATH)
		entry.flags = G_OPTION_FLAG_FILENAME;
	else if (setting->kind == KIND_FLAG && setting->line_only)
		entry.flags = G_OPTION_FLAG_NO_ARG;
	else if (setting->kind == KIND_FLAG) /* so that it can take back what the file says */
		entry.flags = G_OPTION_FLAG_OPTIONAL_ARG;
	return entry;
}

static bool read_line(struct reading *reading, int argc, char **argv, GError **error)
{
	const struct settings *settings = reading->settings;
	GOptionContext *context = g_option_context_new("- the daemon of Lodge");
	GOptionGroup *group = g_option_group_new(NULL, NULL, NULL, reading, NULL);
	GOptionEntry entries[ARRAY_LEN(all) + 1] = { 0 };
	bool good;

	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		entries[i] = entry_of(&all[i]);
	g_option_group_add_entries(group, entries);
	g_option_context_set_main_group(context, group);
	g_option_context_set_summary(context, description);
	good = g_option_context_parse(context, &argc, &argv, error);
	g_option_context_free(context);
	if (!good || settings->version)
		return good;
	if (argc > 1)
		return daemon_refuse(error, 0, "what is '%s'? See lodged --help", argv[1]);
	if (!!settings->root + settings->system + settings->session != 1)
		return daemon_refuse(
			error, 0,
			"give one of --root DIR, --system and --session; see lodged --help");
	return true;
}

/* --- the file --- */

static char *usual_file(const struct settings *settings)
{
	if (settings->system)
		return g_strdup(SYSTEM_FILE);
	if (settings->session)
		return g_build_filename(g_get_user_config_dir(), "lodge", "lodged.conf", NULL);
	return g_build_filename(settings->root, "lodged.conf", NULL);
}

/* NULL without an error: it is not there, and need not be. */
static FILE *open_file(const char *path, bool needed, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && !needed && (errno == ENOENT || errno == ENOTDIR))
		return NULL;
	if (fd < 0)
		daemon_refuse(error, 0, "cannot open the settings file %s: %s", path,
			      g_strerror(errno));
	else if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		daemon_refuse(error, 0, "the settings file %s is no plain file", path);
	else if (st.st_uid && st.st_uid != geteuid())
		daemon_refuse(error, 0,
			      "the settings file %s belongs to user %u, neither root nor who runs "
			      "lodged; mend that (chown)",
			      path, st.st_uid);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		daemon_refuse(error, 0,
			      "the settings file %s may be written by others than its owner; mend "
			      "that (chmod go-w)",
			      path);
	else
		return fdopen(fd, "r");
	if (fd >= 0)
		close(fd);
	return NULL;
}

static bool check_in_file(struct reading *reading, const struct setting *setting, const char *name,
			  const char *value, GError **error)
{
	if (!setting)
		return daemon_refuse(error, 0,
				     "there is no setting '%s'; lodged.conf(5) lists them", name);
	if (setting->line_only)
		return daemon_refuse(error, 0, "%s is for the command line alone", name);
	if (setting->kind != KIND_LIST && reading->in_file & bit_of(setting))
		return daemon_refuse(error, 0, "%s stands here once more; leave one", name);
	if (setting->kind == KIND_PATH && !g_path_is_absolute(value))
		return daemon_refuse(error, 0, "%s takes a path that begins with /, not '%s'", name,
				     value);
	reading->in_file |= bit_of(setting);
	return true;
}

/* @unused takes what the command line has said otherwise. */
static bool take_line(struct reading *reading, struct settings *unused, char *line, GError **error)
{
	const char *name = g_strstrip(line);
	char *value = strchr(line, '=');
	const struct setting *setting;

	if (!*line || *line == '#')
		return true;
	if (!value)
		return daemon_refuse(error, 0, "'%s' is not NAME = VALUE; see lodged.conf(5)",
				     line);
	*value++ = 0;
	g_strchomp(line);
	g_strstrip(value);
	setting = find(name);
	if (!check_in_file(reading, setting, name, value, error))
		return false;
	if (take(reading->on_line & bit_of(setting) ? unused : reading->settings, setting, value,
		 error))
		return true;
	g_prefix_error(error, "%s ", name);
	return false;
}

static bool take_lines(struct reading *reading, FILE *file, const char *path, GError **error)
{
	struct settings unused = { 0 };
	char *line = NULL;
	size_t room = 0;
	bool good = true;

	for (unsigned i = 1; good && getline(&line, &room, file) >= 0; i++) {
		good = take_line(reading, &unused, line, error);
		if (!good)
			g_prefix_error(error, "%s, line %u: ", path, i);
	}
	if (good && ferror(file))
		good = daemon_refuse(error, 0, "cannot read the settings file %s: %s", path,
				     g_strerror(errno));
	free(line);
	settings_free(&unused);
	return good;
}

static bool read_file(struct reading *reading, GError **error)
{
	struct settings *settings = reading->settings;
	g_autofree char *path =
		settings->config ? g_strdup(settings->config) : usual_file(settings);
	FILE *file = open_file(path, settings->config, error);
	bool good;

	if (!file)
		return !*error;
	good = take_lines(reading, file, path, error);
	fclose(file);
	settings->file = g_steal_pointer(&path);
	return good;
}

bool settings_read(struct settings *settings, int argc, char **argv, GError **error)
{
	struct reading reading = { .settings = settings };

	*settings = (struct settings){ .patience_seconds = PATIENCE,
				       .socket_mode = -1,
				       .socket_ro_mode = -1 };
	return read_line(&reading, argc, argv, error) &&
	       (settings->version || read_file(&reading, error));
}

void settings_free(struct settings *settings)
{
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		void *field = (char *)settings + all[i].field;

		switch (all[i].kind) {
		case KIND_TEXT:
		case KIND_PATH:
		case KIND_WORD: g_free(*(char **)field); break;
		case KIND_LIST: g_strfreev(*(char ***)field); break;
		case KIND_FLAG:
		case KIND_SECONDS:
		case KIND_MODE: break;
		}
	}
	g_free(settings->file);
}
