/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What disk images are, asked of lodge-img: formats are others' bytes, which no launcher reads
 * itself. lodge-img has each image read by a process that can do nothing else, and its answer is
 * still taken for anybody's: bounded, and JSON or nothing.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (20 * KIB) /* of one image */

struct asking {
	struct fd_map map;
	GPtrArray *words; /* char * */
	int answers[2];   /* a pipe */
};

static void end(struct asking *asking)
{
	fd_map_clear(&asking->map);
	g_ptr_array_unref(asking->words);
	for (unsigned i = 0; i < 2; i++)
		if (asking->answers[i] >= 0)
			close(asking->answers[i]);
}

static bool begin(struct asking *asking, const int *fds, unsigned count, GError **error)
{
	char *program = spawn_find("lodge-img", error);

	*asking = (struct asking){ .words = g_ptr_array_new_with_free_func(g_free),
				   .answers = { -1, -1 } };
	fd_map_init(&asking->map);
	if (!program)
		return false;
	g_ptr_array_add(asking->words, program);
	g_ptr_array_add(asking->words, g_strdup("info"));
	g_ptr_array_add(asking->words, g_strdup("--json"));
	for (unsigned i = 0; i < count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			break;
		g_ptr_array_add(asking->words, g_strdup("--fd"));
		g_ptr_array_add(asking->words, g_strdup_printf("%d", fd_map_add(&asking->map, fd)));
	}
	if (asking->map.fds->len == count && !pipe2(asking->answers, O_CLOEXEC)) {
		g_ptr_array_add(asking->words, NULL);
		return true;
	}
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot ask lodge-img: %s",
		    g_strerror(errno));
	return false;
}

static char *read_answers(int fd, size_t most)
{
	GString *text = g_string_new(NULL);
	char chunk[4096];
	ssize_t n;

	while (text->len < most &&
	       ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			g_string_append_len(text, chunk, n);
	return g_string_free(text, FALSE);
}

/* An object for each image; what is none is an error. */
static json_t *parse(const char *text, unsigned count)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", count + 1);
	json_t *all = json_array();
	bool ended = false;

	for (unsigned i = 0; i < count; i++) {
		json_t *object;

		ended = ended || !lines[i];
		object = ended ? NULL : json_loads(lines[i], 0, NULL);
		if (!json_is_object(object)) {
			json_decref(object);
			object = json_pack("{s:s}", "error", "lodge-img does not say what it is");
		}
		json_array_append_new(all, object);
	}
	return all;
}

json_t *launch_image_info(const int *fds, unsigned count, GError **error)
{
	struct asking asking;
	g_autofree char *text = NULL;
	json_t *answers = NULL;
	pid_t pid;

	if (begin(&asking, fds, count, error)) {
		const struct spawn spawn = { .argv = (const char *const *)asking.words->pdata,
					     .map = &asking.map,
					     .in = -1,
					     .out = asking.answers[1],
					     .err = -1,
					     .die_with_parent = true };

		pid = spawn_program(&spawn, error);
		close(asking.answers[1]);
		asking.answers[1] = -1;
		if (pid > 0) {
			text = read_answers(asking.answers[0], (size_t)count * ANSWER_MAX);
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
			answers = parse(text, count);
		}
	}
	end(&asking);
	return answers;
}
