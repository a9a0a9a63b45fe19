/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's life: from text to tree, and back to text. */
#include "domain/domain.h"

#include "domain/check.h"
#include "domain/complete.h"
#include "domain/xml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Its fields are not read yet. */
static struct domain *check_text(const char *text, size_t length, const char *file,
				 const char *directory, GError **error)
{
	xmlDoc *doc = xml_read(text, length, file, error);
	struct domain *domain;

	if (!doc)
		return NULL;
	domain = g_new0(struct domain, 1);
	domain->doc = doc;
	domain->file = g_strdup(file);
	domain->directory = g_strdup(directory);
	domain->notes = g_ptr_array_new_with_free_func(g_free);
	if (!domain_check_values(domain, error) || !domain_validate(domain, error)) {
		domain_free(domain);
		return NULL;
	}
	return domain;
}

struct domain *domain_parse(const char *text, size_t length, const char *file,
			    const char *directory, GError **error)
{
	struct domain *domain = check_text(text, length, file, directory, error);

	if (domain)
		domain_read(domain);
	return domain;
}

struct domain *domain_parse_complete(const char *text, size_t length, const char *file,
				     GError **error)
{
	struct domain *domain = check_text(text, length, file, NULL, error);

	if (domain && domain_complete(domain, error))
		return domain;
	domain_free(domain);
	return NULL;
}

/* All of @fd, or as much as makes xml_read() refuse it. */
static char *read_all(int fd, const char *name, size_t *length, GError **error)
{
	GString *text = g_string_new(NULL);
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0 && text->len <= XML_BYTES_MAX)
		g_string_append_len(text, chunk, n);
	if (n < 0) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML, "cannot read %s: %s", name,
			    g_strerror(errno));
		g_string_free(text, TRUE);
		return NULL;
	}
	*length = text->len;
	return g_string_free(text, FALSE);
}

static char *read_file(const char *path, size_t *length, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;

	if (fd < 0) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML, "cannot open %s: %s", path,
			    g_strerror(errno));
		return NULL;
	}
	text = read_all(fd, path, length, error);
	close(fd);
	return text;
}

struct domain *domain_parse_file(const char *path, GError **error)
{
	bool from_stdin = !strcmp(path, "-");
	const char *name = from_stdin ? "standard input" : path;
	char *text, *absolute, *directory;
	struct domain *domain;
	size_t length;

	text = from_stdin ? read_all(STDIN_FILENO, name, &length, error)
			  : read_file(path, &length, error);
	if (!text)
		return NULL;
	absolute = g_canonicalize_filename(path, NULL);
	directory = g_path_get_dirname(absolute);
	domain = domain_parse(text, length, name, directory, error);
	g_free(directory);
	g_free(absolute);
	g_free(text);
	return domain;
}

void domain_fold(struct domain *domain)
{
	if (domain->doc)
		domain_fold_as(domain, domain_format(domain));
}

void domain_fold_as(struct domain *domain, char *text)
{
	const size_t length = strlen(text);

	if (length > XML_BYTES_MAX) { /* what was read was just short enough */
		g_free(text);
		return;
	}
	domain->text = g_realloc(text, length + 1); /* it is kept for long */
	g_clear_pointer(&domain->doc, xmlFreeDoc);
}

xmlDoc *domain_tree(const struct domain *domain)
{
	return domain->doc ? xmlCopyDoc(domain->doc, 1)
			   : xml_read(domain->text, strlen(domain->text), domain->file, NULL);
}

char *domain_format(const struct domain *domain)
{
	return domain->doc ? xml_write(xmlDocGetRootElement(domain->doc)) : g_strdup(domain->text);
}

char *domain_format_public(const struct domain *domain)
{
	xmlDoc *copy = domain_tree(domain);
	xmlNode *root = xmlDocGetRootElement(copy);
	char *text;

	xml_for_each(graphics, xml_child(root, "devices"), "graphics")
		xml_unset(graphics, "passwd");
	text = xml_write(root);
	xmlFreeDoc(copy);
	return text;
}

void domain_free(struct domain *domain)
{
	if (!domain)
		return;
	domain_forget(domain);
	xmlFreeDoc(domain->doc);
	g_free(domain->text);
	g_free(domain->file);
	g_free(domain->directory);
	g_ptr_array_unref(domain->notes);
	g_free(domain);
}
