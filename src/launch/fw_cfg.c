/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest finds in fw_cfg: files are read here, because lodge-vmm opens none. */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX  (1024 * 1024)
#define TOTAL_BYTES_MAX (2 * 1024 * 1024) /* the plan they travel in has a bound */

/* Up to FILE_BYTES_MAX + 1 bytes of a file, so that a longer one is noticed; NULL with errno set.
 */
static GByteArray *read_file(const struct launch_options *options, const char *path)
{
	int fd = authority_open(options, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
	GByteArray *content = g_byte_array_new();
	guint8 chunk[4096];
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0 && content->len <= FILE_BYTES_MAX) {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			g_byte_array_append(content, chunk, n);
	}
	if (n < 0) {
		int number = errno;

		g_byte_array_unref(content);
		content = NULL;
		errno = number;
	}
	if (fd >= 0)
		close(fd);
	return content;
}

static GByteArray *content_of(const struct launch_private *p, const struct domain_fw_cfg *entry,
			      GError **error)
{
	GByteArray *content;

	if (!entry->path) {
		content = g_byte_array_new();
		g_byte_array_append(content, (const guint8 *)entry->text, strlen(entry->text));
		return content;
	}
	content = read_file(&p->options, entry->path);
	if (!content)
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s:%u: <entry>: cannot read %s: %s", p->domain->file, entry->line,
			    entry->path, g_strerror(errno));
	return content;
}

bool fw_cfg_read(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	gsize total = 0;

	for (unsigned i = 0; i < p->domain->fw_cfg->len; i++) {
		const struct domain_fw_cfg *entry = p->domain->fw_cfg->pdata[i];
		GByteArray *content = content_of(p, entry, error);

		if (!content)
			return false;
		total += content->len;
		if (content->len > FILE_BYTES_MAX || total > TOTAL_BYTES_MAX) {
			g_set_error(
				error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
				"%s:%u: <entry>: an entry has at most 1 MiB, all together 2 MiB; "
				"give the guest a disk for '%s'",
				p->domain->file, entry->line, entry->name);
			g_byte_array_unref(content);
			return false;
		}
		g_ptr_array_add(p->fw_cfg, g_base64_encode(content->data, content->len));
		g_byte_array_unref(content);
	}
	return true;
}
