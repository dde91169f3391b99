/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One look each: look_crash SCENARIO FOLDER makes a world in which something is there (a vmm, a csvd, a device that may be
 * written), writes "begin", looks, and says what it took from that.  look.py lets the system calls in between fail.  The
 * last line is "safe ...", or "WRONG ..." where it concluded that nothing was there or that it was done.  All of the
 * looking is shipped code; the owner is a stub, device-mapper is tests/unit/csv/fake_dm.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/effect.h"
#include "clusterd/fx_vm_vmm.h"
#include "clusterd/paths_linux.h"
#include "clusterd/presence_linux.h"
#include "clusterd/vmproc_linux.h"
#include "csv/disk_priv.h"
#include "csv/diskjournal.h"
#include "csv/libcsv.h"
#include "tests/unit/csv/fake_dm.h"

#define MAP	"hf-vol-83-1-1"
#define STRAY	"hf-vol-99-1-1"
#define UUID(n) "HF-disk-00000000-0000-0000-0000-000000000000-" n "-1-1"

static char *folder;
static struct csvd d;
static struct csv_vol vol;
static struct csv_node file = { .fh = { .ino = 0x83, .gen = 1 } };
static unsigned asked[64]; /* of the owner, by operation */
static int reclaim_rc;

/* ---- what is around ---- */

uint64_t csvd_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

uint64_t cd_now_ms(void)
{
	return csvd_now_ms();
}

int64_t cd_wall_ms(void)
{
	return 0;
}

int csv_call(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *m, struct csv_rpc_msg *r)
{
	static struct csv_wire_extent e = { .file_off = 0, .dev_off = 1 << 20, .len = 1 << 20 };
	static uint8_t data[256];

	memset(r, 0, sizeof(*r));
	asked[op]++;
	if (op == CSV_OP_RECLAIM)
		return reclaim_rc;
	if (op == CSV_OP_XOPEN) {
		r->seq = 5;
		r->flags = CSV_LAYOUT_WHOLE;
		r->version = 3;
		r->data = data;
		r->data_bytes = (uint32_t)csv_extents_encode(&e, 1, data, sizeof(data));
	}
	return 0;
}

int csv_call_timeout(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *m,
		     struct csv_rpc_msg *r, int timeout_ms)
{
	return csv_call(v, op, m, r);
}

struct csv_node *csv_node_get(struct csv_vol *v, struct csv_fh fh, uint64_t n)
{
	return &file;
}

int csv_node_open(struct csv_vol *v, struct csv_node *n, bool opened)
{
	return 0;
}

void csv_node_close(struct csv_vol *v, struct csv_node *n)
{
}

void csv_node_forget(struct csv_vol *v, struct csv_node *n, uint64_t lookups)
{
}

struct csv_vol *csvd_vol_find(struct csvd *from, const char *name)
{
	return &vol;
}

struct csv_vol *csvd_vol_next(struct csvd *from, const struct csv_vol *v)
{
	return v ? NULL : &vol;
}

/* ---- a vmm, a csvd ---- */

/* As a vmm or a csvd that lives until it is killed, and not longer than we. */
__attribute__((constructor)) static void as_victim(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "--config") != 0 && strcmp(argv[1], "csvd") != 0))
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strcmp(argv[1], "csvd") == 0) {
		int fd = open(argv[2], O_RDWR | O_CREAT, 0600);

		if (fd < 0 || flock(fd, LOCK_EX) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
			_exit(1);
	}
	if (write(1, "up\n", 3) < 0)
		_exit(1);
	for (;;)
		pause();
}

static pid_t victim(const char *option, const char *value)
{
	int fds[2];
	char up[4];
	pid_t pid;

	if (pipe(fds))
		abort();
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		execl("/proc/self/exe", "someone", option, value, NULL);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], up, 3) != 3)
		abort();
	close(fds[0]);
	return pid;
}

/* Its lock is inherited: the descriptor that we hold is not. */
static pid_t vmm_start(bool lock, bool named)
{
	struct cd_presence presence = CD_PRESENCE_NONE;
	char config[CD_PATH_MAX], other[CD_PATH_MAX];
	pid_t pid;

	cd_path(config, sizeof(config), CD_DIR_RUN, "vm/web/config.json");
	snprintf(other, sizeof(other), "%s/other", folder);
	if (lock && (cd_presence_take("web", "vm-web", &presence) < 0 ||
		     fcntl(presence.pass_fd, F_SETFD, 0) < 0))
		abort();
	pid = victim("--config", named ? config : other);
	if (lock)
		cd_presence_pid(&presence, pid);
	cd_presence_release(&presence);
	return pid;
}

static bool gone(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == pid;
}

/* It was told to end, and it takes a moment. */
static bool gone_soon(pid_t pid)
{
	for (int i = 0; i < 20000; i++) {
		if (gone(pid))
			return true;
		usleep(1000);
	}
	return false;
}

/*
 * Calls are counted by kind and thread: here the looker leaves behind the numbers that its victim had when it was loaded,
 * so that a fault meets the one and not the other.
 */
static void begin(void)
{
	char byte;

	for (int i = 0; i < 60; i++) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, &byte, 1) != 0 || pread(fd, &byte, 1, 0) != 0)
			abort();
		(void)flock(fd, LOCK_UN);
		close(fd);
	}
	if (write(1, "begin\n", 6) < 0)
		abort();
}

/* wrong: the conclusion that is not so. */
static int verdict(bool wrong, const char *what, long got)
{
	char text[96];
	struct iovec v = { text, (size_t)snprintf(text, sizeof(text), "%s %s: %ld\n",
						  wrong ? "WRONG" : "safe", what, got) };

	return writev(1, &v, 1) < 0; /* not by write(), which is made to fail */
}

/* ---- vmms ---- */

static int look_at(pid_t pid)
{
	int rc;

	begin();
	rc = cd_vmproc_look("web");
	return verdict(rc == 0, "look", rc) + 0 * (int)pid;
}

static int vm_lock(void)
{
	return look_at(vmm_start(true, false));
}

static int vm_old(void)
{
	return look_at(vmm_start(false, true));
}

/* Only the cgroup knows: files such as one has. */
static int vm_cgroup(void)
{
	char path[CD_PATH_MAX], text[CD_PATH_MAX];
	int n;

	cd_path(path, sizeof(path), CD_DIR_RUN, "lock");
	cd_path_mkdirs(path, 0700);
	cd_path(path, sizeof(path), CD_DIR_RUN, "lock/vm-web");
	n = snprintf(text, sizeof(text), "0 0 %.300s/group\n", folder);
	if (cd_file_write(path, 0600, text, (size_t)n) < 0)
		abort();
	snprintf(path, sizeof(path), "%s/group", folder);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/group/cgroup.events", folder);
	if (cd_file_write(path, 0600, "populated 1\nfrozen 0\n", 21) < 0)
		abort();
	return look_at(0);
}

static int list_at(void)
{
	struct cd_vmproc list[4];
	size_t n = 0;
	int rc;

	begin();
	rc = cd_vmproc_list(list, 4, &n);
	return verdict(rc == 0 && n == 0, "list", rc < 0 ? rc : (long)n);
}

static int list_lock(void)
{
	vmm_start(true, false);
	return list_at();
}

static int list_old(void)
{
	vmm_start(false, true);
	return list_at();
}

static int kill_at(pid_t pid)
{
	int rc;

	begin();
	rc = cd_vmproc_kill("web", 100);
	return verdict(rc == 0 && !gone_soon(pid), "kill", rc);
}

static int kill_lock(void)
{
	return kill_at(vmm_start(true, false));
}

static int kill_old(void)
{
	return kill_at(vmm_start(false, true));
}

static int kill_all(void)
{
	pid_t pid = vmm_start(true, true);
	int rc;

	begin();
	rc = cd_vmprocs_kill_all(100);
	return verdict(rc == 0 && !gone_soon(pid), "kill all", rc);
}

static struct cd_fx *fx_new(void)
{
	struct cd_fx *fx = calloc(1, sizeof(*fx));

	strcpy(fx->self, "n1");
	strcpy(fx->vm.name, "web");
	fx->effect.generation = 7;
	fx->effect.flags = CORE_FLAG_FORCE;
	fx->result.outcome = CL_UNKNOWN;
	return fx;
}

static int fx_query(void)
{
	struct cd_fx *fx = fx_new();

	vmm_start(true, true);
	begin();
	cd_fx_vm_query(fx);
	return verdict(fx->result.outcome == CL_DONE && fx->result.values[0] == CORE_SEEN_NONE, "query",
		       (long)fx->result.outcome);
}

static int fx_end(void (*run)(struct cd_fx *fx))
{
	struct cd_fx *fx = fx_new();
	pid_t pid = vmm_start(true, true);

	begin();
	run(fx);
	return verdict(fx->result.outcome == CL_DONE && !gone_soon(pid), "ended", (long)fx->result.outcome);
}

static int fx_kill(void)
{
	return fx_end(cd_fx_vm_kill);
}

/* ---- csvd ---- */

static int csvd_kill(void)
{
	char path[CD_PATH_MAX];
	pid_t pid;
	int rc;

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.lock");
	pid = victim("csvd", path);
	begin();
	rc = cd_csvd_kill(100);
	return verdict(rc == 0 && !gone_soon(pid), "csvd", rc);
}

/* One that answers: nobody may say that it was started now, for then its volumes count as lost. */
static int csvd_ensure(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char path[CD_PATH_MAX], error[256] = "";
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.sock");
	snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", path);
	if (sock < 0 || bind(sock, (struct sockaddr *)&a, sizeof(a)) || listen(sock, 8))
		abort();
	setenv("HOLDFAST_LIBEXEC_DIR", folder, 1); /* no program is there: none is started */
	begin();
	rc = cd_csvd_ensure(error, sizeof(error));
	return verdict(rc > 0 || strstr(error, "csvd: "), "ensure", rc);
}

/* ---- devices ---- */

static struct csv_disk *disk_new(pid_t pid)
{
	struct csv_disk *k = calloc(1, sizeof(*k));
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd");
	cd_path_mkdirs(path, 0700);
	cd_path(d.run_dir, sizeof(d.run_dir), CD_DIR_RUN, "%s", "");
	d.run_dir[strlen(d.run_dir) - 1] = '\0';
	d.patience_ms = 1;
	vol.d = &d;
	vol.link = 1;
	strcpy(vol.name, "vol");
	vol.backing = (struct csv_map_backing){ "/fake/lun", 1 << 20, 64 << 20 };
	pthread_mutex_init(&vol.lock, NULL);
	pthread_cond_init(&vol.cond, NULL);
	k->v = &vol;
	k->node = &file;
	k->pidfd = -1;
	k->pid = pid;
	k->pid_start = pid ? csv_proc_start(pid) : 0;
	pthread_mutex_init(&k->dm, NULL);
	strcpy(k->path, "web.img");
	strcpy(k->vm, "web");
	strcpy(k->journal, MAP);
	strcpy(k->map, MAP);
	k->generation = 7;
	k->seq = 1;
	k->active = k->held = true;
	k->mode = CSV_DISK_DIRECT;
	vol.disks = k;
	fake_dm_add(MAP, UUID("83"), 1);
	if (csv_map_init() < 0)
		abort();
	return k;
}

static int dm_recall(void)
{
	int rc;

	disk_new(getpid());
	begin();
	rc = csv_disks_recall(&vol, file.fh, 2);
	return verdict(rc >= 0 && fake_dm_writes(MAP), "recall", rc);
}

static int dm_reclaim(void)
{
	int rc;

	disk_new(getpid());
	reclaim_rc = -ESTALE;
	begin();
	rc = csv_disks_reclaim(&vol, csv_call);
	return verdict(rc == 0 && fake_dm_writes(MAP), "reclaim", rc);
}

static int dm_redirect(void)
{
	disk_new(getpid());
	begin();
	csv_disks_redirect(&vol, true);
	return verdict(asked[CSV_OP_LAYOUTRETURN] && fake_dm_writes(MAP), "redirect",
		       asked[CSV_OP_LAYOUTRETURN]);
}

static int dm_close(void)
{
	struct csv_disk *k = disk_new(getpid());

	begin();
	csv_disk_close_srv(k);
	return verdict(asked[CSV_OP_XCLOSE] && fake_dm_writes(MAP), "close", asked[CSV_OP_XCLOSE]);
}

static int dm_down(void)
{
	struct csv_disk *k = disk_new(getpid());

	begin();
	csv_disks_down(&vol);
	for (int i = 0; i < 2000 && k->users; i++)
		usleep(1000);
	return verdict(!k->active && fake_dm_writes(MAP), "down", k->active);
}

static int tidy(struct csv_disk *k)
{
	k->adopted = true;
	begin();
	csv_disks_tidy(&d);
	for (int i = 0; i < 20 && !k->adopted; i++)
		usleep(1000);
	return verdict(asked[CSV_OP_XCLOSE], "tidy", asked[CSV_OP_XCLOSE]);
}

static int dm_tidy(void)
{
	return tidy(disk_new(0));
}

/* Redirected: the process is what there is. */
static int proc_tidy(void)
{
	struct csv_disk *k = disk_new(getpid());

	k->map[0] = '\0';
	k->held = false;
	return tidy(k);
}

static int adopt(bool with_map)
{
	struct csv_disk *k = disk_new(getpid());
	char error[CSVD_TEXT];
	int rc;

	if (!with_map) {
		k->map[0] = '\0';
		fake_dm_find(MAP)->used = false;
	}
	if (csv_diskjournal_write(k) < 0)
		abort();
	vol.disks = NULL;
	fake_dm_add(STRAY, UUID("99"), 1);
	begin();
	rc = csv_disks_adopt(&vol, error);
	return verdict(rc == 0 && (!vol.disks || fake_dm_writes(STRAY)), "adopt", rc);
}

static int adopt_map(void)
{
	return adopt(true);
}

static int adopt_redirected(void)
{
	return adopt(false);
}

/* By calls that look.py lets alone. */
static bool file_has(const char *path, const char *what)
{
	struct open_how how = { .flags = O_RDONLY };
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	static char text[4096];
	struct iovec v = { text, sizeof(text) - 1 };

	memset(text, 0, sizeof(text));
	return fd >= 0 && preadv(fd, &v, 1, 0) > 0 && strstr(text, what);
}

static int activate(void)
{
	struct csv_disk *k = disk_new(getpid());
	char path[CD_PATH_MAX];
	bool known;
	int fd, rc;

	k->active = k->held = false;
	k->map[0] = '\0';
	fake_dm_find(MAP)->used = false;
	begin();
	rc = csv_disk_activate_srv(k, 8, 0, &fd);
	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd/" MAP ".json");
	known = k->map[0] && file_has(path, k->map);
	return verdict(k->map[0] && fake_dm_writes(k->map) && !known, "activate", rc);
}

static int map_list(void)
{
	struct csv_map_info *list = NULL;
	size_t n = 0;
	int rc;

	disk_new(getpid());
	fake_dm_add(STRAY, UUID("99"), 1);
	begin();
	rc = csv_map_list(&list, &n);
	return verdict(rc == 0 && n < 2, "list of devices", rc < 0 ? rc : (long)n);
}

/* ---- the checker itself ---- */

/* What was there before: an error of looking is "none". */
static int lie(void)
{
	char path[64], text[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", getpid());
	begin();
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		n = read(fd, text, sizeof(text));
	return verdict(n <= 0, "lie", n);
}

static const struct {
	const char *name;
	int (*run)(void);
} scenarios[] = {
	{ "vm-lock", vm_lock },	      { "vm-old", vm_old },
	{ "vm-cgroup", vm_cgroup },   { "list-lock", list_lock },
	{ "list-old", list_old },     { "kill-lock", kill_lock },
	{ "kill-old", kill_old },     { "kill-all", kill_all },
	{ "fx-query", fx_query },     { "fx-kill", fx_kill },
	{ "csvd-kill", csvd_kill },   { "csvd-ensure", csvd_ensure },
	{ "dm-recall", dm_recall },
	{ "dm-reclaim", dm_reclaim }, { "dm-redirect", dm_redirect },
	{ "dm-close", dm_close },     { "dm-down", dm_down },
	{ "dm-tidy", dm_tidy },	      { "proc-tidy", proc_tidy },
	{ "adopt-map", adopt_map },   { "adopt-redirected", adopt_redirected },
	{ "activate", activate },     { "map-list", map_list },
	{ "lie", lie },
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (unsigned i = 0; i < CL_ARRAY_LEN(scenarios); i++)
			puts(scenarios[i].name);
		return 0;
	}
	if (argc != 3)
		return 2;
	folder = argv[2];
	setenv("HOLDFAST_RUN_DIR", folder, 1);
	setvbuf(stdout, NULL, _IONBF, 0);
	for (unsigned i = 0; i < CL_ARRAY_LEN(scenarios); i++)
		if (strcmp(argv[1], scenarios[i].name) == 0)
			return scenarios[i].run();
	return 2;
}
