/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the process's log goes. It is the one piece of state that belongs to the process and not to
 * a machine: there is one standard error.
 *
 * LODGE_DEBUG in the environment, "area,area" or "all", lets debug lines of these areas through
 * whatever the level is, and of no others.
 */
#include "base/log.h"

#include "base/log_sink.h"
#include "base/types.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define JOURNAL        "/run/systemd/journal/socket"

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_WARNING;
static const char *log_areas;   /* whose debug lines are wanted; NULL: the level says it */
static const char *log_program; /* not NULL: log_fd is a socket of the journal's */
static char log_path[PATH_MAX]; /* of a file that is bounded; or empty */
static off_t log_bytes_max;
static pthread_mutex_t log_file_lock = PTHREAD_MUTEX_INITIALIZER;

void log_open(int fd, enum log_level level)
{
	log_fd = fd;
	log_areas = getenv("LODGE_DEBUG");
	log_max = log_areas ? LOG_DEBUG : level;
	log_program = NULL;
	log_path[0] = '\0';
}

bool log_enabled(enum log_level level)
{
	return level <= log_max;
}

/* Is @area one of "area,area"? */
static bool has_area(const char *areas, const char *area)
{
	size_t length = strlen(area);

	while (*areas) {
		size_t one = strcspn(areas, ",");

		if ((one == 3 && !strncmp(areas, "all", 3)) ||
		    (one == length && !strncmp(areas, area, length)))
			return true;
		areas += one + (areas[one] == ',');
	}
	return false;
}

/* Those with debug lines: of lodged's, then of guests' processes. */
static const char known_areas[] = "monitor,rpc,storage,store,cpu,kvm";

void log_check_areas(const char *program_area)
{
	const char *areas = getenv("LODGE_DEBUG");
	char one[LINE_MAX_BYTES / 8];

	for (; areas && *areas; areas += strcspn(areas, ","), areas += *areas == ',') {
		snprintf(one, sizeof(one), "%.*s", (int)strcspn(areas, ","), areas);
		if (!*one || !strcmp(one, "all") || has_area(known_areas, one))
			continue;
		log_warning(program_area,
			    "LODGE_DEBUG: no area '%s' has debug lines; these have: %s; or all",
			    one, known_areas);
		return;
	}
}

static bool is_wanted(enum log_level level, const char *area)
{
	return log_enabled(level) && (level < LOG_DEBUG || !log_areas || has_area(log_areas, area));
}

/* --- the journal: systemd's "Native Journal Protocol" --- */

bool log_to_journal(const char *identifier, enum log_level level)
{
	const char *stream = getenv("JOURNAL_STREAM");
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL };
	unsigned long long device, inode;
	struct stat st;
	int fd;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2 ||
	    fstat(STDERR_FILENO, &st) || st.st_dev != device || st.st_ino != inode)
		return false;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		log_open(fd, level);
		log_program = identifier;
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

/* The one form of a field in which its value may have several lines. */
static size_t put_field(char *at, const char *name, const char *value, size_t length)
{
	const u64 little = htole64(length);
	size_t n = strlen(name);

	memcpy(at, name, n);
	at[n++] = '\n';
	memcpy(at + n, &little, sizeof(little));
	n += sizeof(little);
	memcpy(at + n, value, length);
	n += length;
	at[n++] = '\n';
	return n;
}

static void write_journal(enum log_level level, const char *area, const char *guest,
			  const char *text, size_t length)
{
	static const int priorities[] = { 3, 4, 6, 7 }; /* syslog(3) */
	char message[2 * LINE_MAX_BYTES + 256], name[LINE_MAX_BYTES / 2];
	size_t n;

	n = snprintf(message, 256, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nLODGE_AREA=%s\n",
		     priorities[level], log_program, area);
	n += put_field(message + n, "MESSAGE", text, length);
	if (guest) {
		snprintf(name, sizeof(name), "%s", guest);
		n += put_field(message + n, "LODGE_GUEST", name, strlen(name));
	}
	(void)!send(log_fd, message, n, MSG_NOSIGNAL);
}

/* --- a file that is bounded --- */

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

bool log_to_file(const char *path, enum log_level level, off_t bytes_max)
{
	int fd = strlen(path) + 3 < sizeof(log_path) ? open_file(path) : -1;

	if (fd < 0)
		return false;
	log_open(fd, level);
	strcpy(log_path, path);
	log_bytes_max = bytes_max;
	return true;
}

/* A file that cannot be moved is written on. */
static void make_room(size_t bytes)
{
	char first[PATH_MAX + 2], second[PATH_MAX + 2];
	struct stat st;
	int fd;

	if (fstat(log_fd, &st) || !S_ISREG(st.st_mode) ||
	    st.st_size + (off_t)bytes <= log_bytes_max)
		return;
	snprintf(first, sizeof(first), "%s.1", log_path);
	snprintf(second, sizeof(second), "%s.2", log_path);
	rename(first, second);
	if (rename(log_path, first))
		return;
	fd = open_file(log_path);
	if (fd < 0)
		return;
	/* in its place: threads that wait for the lock have the number */
	dup3(fd, log_fd, O_CLOEXEC);
	close(fd);
}

/* --- a line --- */

static void write_line(const char *line, size_t length)
{
	if (log_path[0]) {
		pthread_mutex_lock(&log_file_lock);
		make_room(length);
	}
	(void)!write(log_fd, line,
		     length); /* a log that cannot be written must not stop the guest */
	if (log_path[0])
		pthread_mutex_unlock(&log_file_lock);
}

static void log_text(enum log_level level, const char *area, const char *guest, const char *fmt,
		     va_list args)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char line[LINE_MAX_BYTES];
	struct timespec now;
	struct tm tm;
	int n, m;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = snprintf(line, sizeof(line),
		     "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s: ", tm.tm_year + 1900,
		     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		     now.tv_nsec / 1000000, names[level], area);
	m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	m = m < 0 ? 0 : m;
	if (n + m > (int)sizeof(line) - 2)
		m = sizeof(line) - 2 - n;
	if (log_program) { /* what the journal does not take is for nobody */
		write_journal(level, area, guest, line + n, m);
		return;
	}
	n += m;
	line[n++] = '\n';
	write_line(line, n);
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
	va_list args;

	if (!is_wanted(level, area))
		return;
	va_start(args, fmt);
	log_text(level, area, NULL, fmt, args);
	va_end(args);
}

void log_about(enum log_level level, const char *area, const char *guest, const char *fmt, ...)
{
	va_list args;

	if (!is_wanted(level, area))
		return;
	va_start(args, fmt);
	log_text(level, area, guest, fmt, args);
	va_end(args);
}
