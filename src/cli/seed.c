/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See seed.h. JSON is YAML, so cloud-init's files are written by what quotes JSON. */
#include "cli/seed.h"

#include "cli/image.h"

#include <archive.h>
#include <archive_entry.h>
#include <crypt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PASSWORD_CHARS 12

/* Without those that look alike. */
static char *make_up_password(void)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32 */
	unsigned char bytes[PASSWORD_CHARS];
	char *password = g_malloc0(PASSWORD_CHARS + 1);

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		abort(); /* never for so few bytes */
	for (unsigned i = 0; i < PASSWORD_CHARS; i++)
		password[i] = letters[bytes[i] % 32];
	return password;
}

static bool is_user_name(const char *name)
{
	return (g_ascii_islower(*name) || *name == '_') && strlen(name) <= 32 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name);
}

/* The caller's own name, where that does for a user who is not root. */
static const char *default_user(void)
{
	const char *name = g_get_user_name();

	return is_user_name(name) && strcmp(name, "root") ? name : "lodge";
}

static bool is_key(const char *text)
{
	return g_str_has_prefix(text, "ssh-") || g_str_has_prefix(text, "ecdsa-") ||
	       g_str_has_prefix(text, "sk-");
}

static bool read_key(const char *file, char **key, GError **error)
{
	if (!g_file_get_contents(file, key, NULL, error))
		return false;
	g_strstrip(*key);
	if (is_key(*key) && !strchr(*key, '\n'))
		return true;
	return cli_fail(error, "%s is no public SSH key: those begin with ssh- and are one line",
			file);
}

static char *own_key(void)
{
	static const char *const names[] = { "id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(g_get_home_dir(), ".ssh", names[i], NULL);
		g_autofree char *key = NULL;

		if (read_key(path, &key, NULL))
			return g_steal_pointer(&key);
	}
	return NULL;
}

static char *host_name(const char *guest)
{
	char *host = g_strndup(guest, 63);

	for (char *c = host; *c; c++)
		if (!g_ascii_isalnum(*c) && *c != '-')
			*c = '-';
	return host;
}

bool seed_init(struct seed *seed, const char *guest, const char *user, const char *key_file,
	       GError **error)
{
	if (user && (!is_user_name(user) || !strcmp(user, "root")))
		return cli_fail(
			error,
			"'%s' does for no user: lower case letters, digits, '-' and '_', and "
			"not root, whom this user becomes by sudo",
			user);
	*seed = (struct seed){ host_name(guest), g_strdup(user ? user : default_user()),
			       make_up_password() };
	if (key_file)
		return read_key(key_file, &seed->key, error);
	seed->key = own_key();
	return true;
}

void seed_clear(struct seed *seed)
{
	g_free(seed->host);
	g_free(seed->user);
	g_free(seed->password);
	g_free(seed->key);
	*seed = (struct seed){};
}

static char *text_of(const char *head, json_t *value)
{
	char *json = json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	char *text = g_strdup_printf("%s%s\n", head, json);

	free(json);
	json_decref(value);
	return text;
}

static char *user_data(const struct seed *seed)
{
	struct crypt_data data = {};
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	json_t *user;

	crypt_gensalt_rn("$6$", 0, NULL, 0, salt, sizeof(salt));
	user = json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", seed->user, "sudo",
			 "ALL=(ALL) NOPASSWD:ALL", "shell", "/bin/bash", "lock_passwd", 0, "passwd",
			 crypt_r(seed->password, salt, &data));
	if (seed->key)
		json_object_set_new(user, "ssh_authorized_keys", json_pack("[s]", seed->key));
	return text_of("#cloud-config\n", json_pack("{s:s, s:[o], s:b}", "hostname", seed->host,
						    "users", user, "ssh_pwauth", 0));
}

static char *meta_data(const struct seed *seed)
{
	g_autofree char *id = g_uuid_string_random();

	return text_of("",
		       json_pack("{s:s, s:s}", "instance-id", id, "local-hostname", seed->host));
}

static bool add_file(struct archive *iso, const char *name, const char *text)
{
	struct archive_entry *entry = archive_entry_new();
	size_t n = strlen(text);
	bool good;

	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, n);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, g_get_real_time() / G_USEC_PER_SEC, 0);
	good = archive_write_header(iso, entry) == ARCHIVE_OK &&
	       archive_write_data(iso, text, n) == (la_ssize_t)n;
	archive_entry_free(entry);
	return good;
}

bool seed_write(const struct seed *seed, const char *path, GError **error)
{
	g_autofree char *user = user_data(seed), *meta = meta_data(seed);
	struct archive *iso = archive_write_new();
	bool good = archive_write_set_format_iso9660(iso) == ARCHIVE_OK &&
		    archive_write_set_options(iso, "volume-id=cidata") == ARCHIVE_OK &&
		    archive_write_open_filename(iso, path) == ARCHIVE_OK &&
		    add_file(iso, "meta-data", meta) && add_file(iso, "user-data", user) &&
		    archive_write_close(iso) == ARCHIVE_OK;

	if (!good)
		cli_fail(error, "%s: %s", path, archive_error_string(iso));
	archive_write_free(iso);
	return good;
}
