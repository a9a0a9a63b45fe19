/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of features, and this host's. See processor.h. */
#include "launch/processor.h"

#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTION_BYTES_MAX (4u << 20)

struct processor *processor_new(const char *vendor)
{
	struct processor *processor = g_new0(struct processor, 1);

	processor->vendor = vendor;
	processor->features = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return processor;
}

void processor_free(struct processor *processor)
{
	if (!processor)
		return;
	g_hash_table_unref(processor->features);
	g_free(processor);
}

/* --- the set --- */

bool processor_has(const struct processor *processor, const char *feature)
{
	return g_hash_table_contains(processor->features, feature);
}

void processor_add(struct processor *processor, const char *feature)
{
	char *name = cpu_feature_linux_name(feature);

	if (cpu_feature_is_offered(name))
		g_hash_table_add(processor->features, name);
	else
		g_free(name);
}

void processor_remove(struct processor *processor, const char *feature)
{
	g_autofree char *name = cpu_feature_linux_name(feature);

	g_hash_table_remove(processor->features, name);
}

void processor_add_model(struct processor *processor, const struct cpu_model *model)
{
	for (const char *const *name = cpu_features_optional(); *name; name++)
		if (cpu_model_has(model, *name))
			g_hash_table_add(processor->features, g_strdup(*name));
}

/* --- the model --- */

bool processor_covers(const struct processor *processor, const struct cpu_model *model)
{
	for (const char *const *name = cpu_features_optional(); *name; name++)
		if (cpu_model_has(model, *name) && !processor_has(processor, *name))
			return false;
	return true;
}

static unsigned count_features(const struct cpu_model *model)
{
	unsigned count = 0;

	for (const char *const *name = cpu_features_optional(); *name; name++)
		count += cpu_model_has(model, *name);
	return count;
}

const struct cpu_model *processor_best_model(const struct processor *processor)
{
	const struct cpu_model *best = cpu_model_at(0), *model;
	unsigned most = 0;

	for (unsigned i = 0; (model = cpu_model_at(i)); i++) {
		const char *vendor = cpu_model_vendor(model);
		unsigned count = count_features(model);

		if (count <= most || !processor_covers(processor, model) ||
		    (vendor && processor->vendor && strcmp(vendor, processor->vendor)))
			continue;
		best = model;
		most = count;
	}
	return best;
}

/* --- this host's --- */

/* All that comes from @fd; NULL: too much of it. */
static GString *read_all(int fd)
{
	GString *text = g_string_new(NULL);
	char part[16384];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0)
			g_string_append_len(text, part, n);
		if (text->len > DESCRIPTION_BYTES_MAX)
			break;
	}
	return text;
}

/* What `lodge-vmm --describe` prints; NULL with @error set. */
static json_t *describe(const char *path, GError **error)
{
	const char *argv[] = { path, "--describe", NULL };
	struct fd_map map;
	struct spawn spawn = { .argv = argv, .map = &map, .in = -1, .err = -1 };
	int ends[2];
	json_t *description;
	GString *text;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot make a pipe: %s",
			    g_strerror(errno));
		return NULL;
	}
	fd_map_init(&map);
	spawn.out = ends[1];
	pid = spawn_program(&spawn, error);
	fd_map_clear(&map);
	close(ends[1]);
	text = read_all(ends[0]);
	close(ends[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	description = pid > 0 ? json_loadb(text->str, text->len, 0, NULL) : NULL;
	g_string_free(text, TRUE);
	if (pid > 0 && !description)
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN,
			    "%s does not say what it can do", path);
	return description;
}

static const char *vendor_of(const char *cpuid)
{
	if (cpuid && !strcmp(cpuid, "GenuineIntel"))
		return CPU_VENDOR_INTEL;
	return cpuid && !strcmp(cpuid, "AuthenticAMD") ? CPU_VENDOR_AMD : NULL;
}

struct processor *processor_of_host(const char *vmm_path, GError **error)
{
	g_autofree char *path = vmm_path ? g_strdup(vmm_path) : spawn_find("lodge-vmm", error);
	json_t *description = path ? describe(path, error) : NULL;
	const json_t *said = json_object_get(description, "processor"), *feature;
	struct processor *processor;
	size_t i;

	if (!description)
		return NULL;
	processor = processor_new(vendor_of(json_string_value(json_object_get(said, "vendor"))));
	json_array_foreach (json_object_get(said, "features"), i, feature)
		if (json_is_string(feature))
			processor_add(processor, json_string_value(feature));
	json_decref(description);
	return processor;
}
