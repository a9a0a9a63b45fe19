/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge-img info: one image, read by a child. See img.h. */
#include "img/img.h"

#include "base/sanitize.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 16384 /* of a child */

/* --- the child --- */

static bool read_fd(void *opaque, u64 offset, void *data, size_t bytes)
{
	u8 *at = data;

	while (bytes) {
		ssize_t n = pread(STDIN_FILENO, at, bytes, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		offset += n;
		bytes -= n;
	}
	return true;
}

static void add_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

static void add_number(json_t *object, const char *key, u64 number)
{
	if (number)
		json_object_set_new(object, key, json_integer(number));
}

static void add_flag(json_t *object, const char *key, bool flag)
{
	if (flag)
		json_object_set_new(object, key, json_true());
}

static json_t *as_json(const struct image_info *info)
{
	json_t *object = json_object();

	add_text(object, "format", info->format);
	json_object_set_new(object, "virtual-size", json_integer(info->disk_bytes));
	json_object_set_new(object, "file-size", json_integer(info->file_bytes));
	add_number(object, "version", info->version);
	add_number(object, "cluster-size", info->cluster_bytes);
	add_text(object, "encryption", info->encryption);
	add_text(object, "backing-file", info->backing);
	add_text(object, "backing-format", info->backing_format);
	add_text(object, "data-file", info->data_file);
	add_text(object, "label", info->label);
	add_number(object, "snapshots", info->snapshots);
	add_flag(object, "dirty", info->dirty);
	add_flag(object, "corrupt", info->corrupt);
	return object;
}

static void print_size(const char *title, u64 bytes)
{
	static const char units[] = "KMGTPE";
	double amount = bytes / 1024.0;
	unsigned unit = 0;

	for (; amount >= 1024 && units[unit + 1]; unit++)
		amount /= 1024;
	printf("%s: %.1f %ciB (%" G_GUINT64_FORMAT " bytes)\n", title, amount, units[unit], bytes);
}

static void print_text(const char *title, const char *text)
{
	if (text)
		printf("%s: %s\n", title, text);
}

static void print_info(const struct image_info *info)
{
	print_text("format", info->format);
	if (info->version)
		printf("version: %u\n", info->version);
	print_size("virtual size", info->disk_bytes);
	print_size("file size", info->file_bytes);
	if (info->cluster_bytes)
		printf("cluster size: %" G_GUINT64_FORMAT " bytes\n", info->cluster_bytes);
	print_text("encryption", info->encryption);
	print_text("backing file", info->backing);
	print_text("backing format", info->backing_format);
	print_text("data file", info->data_file);
	print_text("label", info->label);
	if (info->snapshots)
		printf("snapshots: %u\n", info->snapshots);
	if (info->dirty)
		printf("dirty: it was not closed\n");
	if (info->corrupt)
		printf("corrupt: it says so itself\n");
}

static void print_json(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static int say_error(const GError *error, bool json)
{
	json_t *object = json_object();

	json_object_set_new(object, "error", json_string(error->message));
	if (json)
		print_json(object);
	else
		printf("%s\n", error->message);
	return EXIT_FAILURE;
}

/* Its status; @fd is number 0 by now. */
static int probe(bool json, GError **error)
{
	const off_t end = lseek(STDIN_FILENO, 0, SEEK_END);
	const struct image_source source = { .bytes = MAX(end, 0), .read = read_fd };
	struct image_info info = { 0 };
	int status = EXIT_SUCCESS;

	if (end < 0) {
		g_set_error(error, IMAGE_ERROR, 0, "it is neither a file nor a block device");
		return EXIT_FAILURE;
	}
	if (!probe_image(&source, &info, error))
		status = EXIT_FAILURE;
	else if (json)
		print_json(as_json(&info));
	else
		print_info(&info);
	image_info_clear(&info);
	return status;
}

static void G_GNUC_NORETURN run_child(int fd, int out, bool json)
{
	GError *error = NULL;
	int status = EXIT_FAILURE;

	json_object_seed(0); /* reads a file */
	dup2(out, STDOUT_FILENO);
	if (confine(fd, &error))
		status = probe(json, &error);
	if (error)
		status = say_error(error, json);
	fflush(stdout);
	if (SANITIZED) /* whose run-time looks for leaks even now, which it may not here */
		syscall(SYS_exit_group, status);
	_exit(status);
}

/* --- the parent --- */

/* What a child says, which may be anything: text without what controls terminals. */
static char *read_output(int fd, bool one_line)
{
	char text[OUTPUT_MAX + 1];
	size_t length = 0;
	ssize_t n;
	char *valid;

	while (length < OUTPUT_MAX && ((n = read(fd, text + length, OUTPUT_MAX - length)) > 0 ||
				       (n < 0 && errno == EINTR)))
		length += MAX(n, 0);
	text[length] = '\0';
	length = strlen(text);
	if (one_line)
		text[strcspn(text, "\n")] = '\0';
	for (size_t i = 0; i < length; i++)
		if ((u8)text[i] < ' ' && text[i] != '\n' && text[i])
			text[i] = '?';
	valid = g_utf8_make_valid(text, -1);
	for (char *p = valid; *p; p = g_utf8_next_char(p)) /* U+0080 to U+009F, and DEL */
		if (g_unichar_iscntrl(g_utf8_get_char(p)) && *p != '\n')
			memset(p, '?', g_utf8_next_char(p) - p);
	return valid;
}

static int tell(int wait_status, const char *text, const char *name, bool json)
{
	bool good = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_SUCCESS;
	const char *why =
		WIFEXITED(wait_status) && *text ? text : "what reads it was ended: it is hostile";

	if (json && *text && WIFEXITED(wait_status))
		printf("%s\n", text);
	else if (json)
		printf("{\"error\":\"%s\"}\n", why);
	else if (good)
		fputs(text, stdout);
	else
		fprintf(stderr, "lodge-img: %s: %.*s\n", name ? name : "the image",
			(int)strcspn(why, "\n"), why);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int info_image(int fd, const char *name, bool json)
{
	g_autofree char *text = NULL;
	int ends[2], wait_status = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC)) {
		perror("lodge-img: cannot make a pipe");
		return EXIT_FAILURE;
	}
	fflush(stdout);
	pid = fork();
	if (!pid)
		run_child(fd, ends[1], json);
	close(ends[1]);
	if (pid < 0) {
		perror("lodge-img: cannot make a process");
		close(ends[0]);
		return EXIT_FAILURE;
	}
	text = read_output(ends[0], json);
	close(ends[0]);
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	return tell(wait_status, text, name, json);
}
