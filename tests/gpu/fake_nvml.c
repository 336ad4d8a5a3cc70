/*
 * A stand-in for NVIDIA's libnvidia-ml.so.1, for tests, for demonstrations, and to see the GPU screen without a GPU.
 * Its devices are named "FAKE ..." and the console says so: nobody should take these figures for a measurement.
 *
 *     mkdir /tmp/fake
 *     cc -shared -fPIC -O1 -pthread -Wl,-soname,libnvidia-ml.so.1 -o /tmp/fake/libnvidia-ml.so.1 tests/gpu/fake_nvml.c -lm
 *     LD_LIBRARY_PATH=/tmp/fake uplion
 *
 * It reads the file `scenario` beside it, again whenever that file changes (replace it by rename). Without one there are
 * four GPUs, each following the CPU use of the processes that are pinned to it: load on a model moves its bar.
 *
 *     driver 580.95                     another version later on: this process must be restarted to read again
 *     driver gone | driver mismatch     not loaded; never fits the library
 *     gpus 2 81920 FAKE A100-SXM4-80GB  how many, MiB of each, name; goes before the lines about one GPU
 *     0 util 94                         GPU number or *, figure, value: util used reserved power limit temp sm
 *     * power wave 60 380 30              max_sm gen width full_width; or a sine from, to, with a period in seconds
 *     0 throttle 0x20                   bit mask of nvmlDeviceGetCurrentClocksEventReasons
 *     0 process PID MIB SM              one that computes; 0 draws PID MIB: one that draws; MIB of -1: not told
 *     0 follow SESSION [SCALE]          utilisation = its CPU use, 1 core is 100 %; memory = its RSS times SCALE
 *     0 follow pinned [SCALE]           the same for all processes with this GPU in CUDA_VISIBLE_DEVICES
 *                                       and this fake in LD_LIBRARY_PATH
 *     0 lost | 0 reset                  does not answer any more; needs a reset
 *     0 unified                         has no memory of its own
 *     xid 0 79 | ecc 0                  told once to those who were listening when the line appeared
 *     notsup FUNCTION                   answers "not supported"
 *     slow FUNCTION MS                  takes its time
 *
 * A function that an old driver lacks: build with -DnvmlDeviceGetX=absent_nvmlDeviceGetX.
 * Calls are counted in the file `calls` beside it when there is one: 128 times a name of 56 bytes and a 64-bit number.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK, UNINITIALIZED, INVALID, NOT_SUPPORTED, NOT_FOUND = 6, TOO_SMALL, NOT_LOADED = 9, TIMED_OUT,
       LOST = 15, NEEDS_RESET = 16, MISMATCH = 18, WRONG_VERSION = 25 };
enum { UTIL, USED, RESERVED, POWER, LIMIT, TEMP, SM, MAX_SM, GEN, WIDTH, FULL_WIDTH, FIGURES };
enum { MAX_GPUS = 16, MAX_LISTED = 32, MAX_PROCS = 1024, MAX_RULES = 32, SLOTS = 128 };
static const char *const figure_names[FIGURES] = {"util", "used", "reserved", "power", "limit", "temp", "sm",
                                                  "max_sm", "gen", "width", "full_width"};
static const double MIB = 1048576.0;

typedef struct { int given; double low, high, period_s; } Figure;
typedef struct { int pid, draws; double mib, sm; } Listed;
typedef struct {
    Figure figures[FIGURES];
    unsigned long long throttle;
    int follow, pinned, lost, unified, listed;
    double scale;
    Listed processes[MAX_LISTED];
} Gpu;
typedef struct { int gpu; unsigned long long type, data; } Event;
typedef struct { char function[64]; int ms; } Rule;
typedef struct { int pid, session; unsigned on; double ticks, cores, rss_mib; } Process;
typedef struct { int seen; unsigned long long mask[MAX_GPUS]; } EventSet;
typedef struct { char name[56]; uint64_t calls; } Slot;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4000], driver[64], mapped_driver[64], name[96];
static double total_mib;
static int gpu_count, event_count, rule_count, slow_count, initialized;
static Gpu gpus[MAX_GPUS];
static Event events[256];
static Rule unsupported[MAX_RULES], slow[MAX_RULES];
static struct stat read_version;
static Process procs[MAX_PROCS];
static int proc_count;
static double scanned_s, energy_s, energy_j[MAX_GPUS];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void pause_ms(int ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

/* ---- the scenario ---- */

static void read_figure(Gpu *gpu, const char *key, const char *rest) {
    for (int i = 0; i < FIGURES; i++) {
        Figure *f = &gpu->figures[i];
        if (strcmp(key, figure_names[i])) continue;
        f->given = 1;
        if (sscanf(rest, " wave %lf %lf %lf", &f->low, &f->high, &f->period_s) == 3) return;
        f->period_s = 0;
        sscanf(rest, "%lf", &f->low);
    }
}

static void read_gpu_line(Gpu *gpu, const char *key, const char *rest) {
    Listed *p = &gpu->processes[gpu->listed];
    read_figure(gpu, key, rest);
    if (!strcmp(key, "throttle")) gpu->throttle = strtoull(rest, NULL, 0);
    if (!strcmp(key, "lost")) gpu->lost = LOST;
    if (!strcmp(key, "reset")) gpu->lost = NEEDS_RESET;
    if (!strcmp(key, "unified")) gpu->unified = 1;
    if (!strcmp(key, "follow")) {
        gpu->scale = 1;
        gpu->pinned = !strncmp(rest, " pinned", 7);
        if (gpu->pinned) sscanf(rest, " pinned %lf", &gpu->scale);
        else sscanf(rest, "%d %lf", &gpu->follow, &gpu->scale);
    }
    if (gpu->listed < MAX_LISTED && !strcmp(key, "process"))
        gpu->listed += sscanf(rest, "%d %lf %lf", &p->pid, &p->mib, &p->sm) == 3;
    if (gpu->listed < MAX_LISTED && !strcmp(key, "draws") && sscanf(rest, "%d %lf", &p->pid, &p->mib) == 2)
        p->draws = 1, p->sm = -1, gpu->listed++;
}

static void read_line(const char *line) {
    char word[64], key[64];
    int at = 0, code = 0, gpu = 0;
    double mib;
    if (sscanf(line, "driver %63s", word) == 1) strcpy(driver, word);
    else if (sscanf(line, "gpus %d %lf %95[^\n]", &gpu, &mib, name) == 3) gpu_count = gpu, total_mib = mib;
    else if (sscanf(line, "xid %d %d", &gpu, &code) == 2) events[event_count++ % 256] = (Event){gpu, 0x8, code};
    else if (sscanf(line, "ecc %d", &gpu) == 1) events[event_count++ % 256] = (Event){gpu, 0x2, 0};
    else if (sscanf(line, "notsup %63s", unsupported[rule_count % MAX_RULES].function) == 1) rule_count++;
    else if (sscanf(line, "slow %63s %d", slow[slow_count % MAX_RULES].function, &slow[slow_count % MAX_RULES].ms) == 2)
        slow_count++;
    else if (sscanf(line, "%63s %63s%n", word, key, &at) == 2)
        for (int i = 0; i < gpu_count; i++)
            if (!strcmp(word, "*") || atoi(word) == i) read_gpu_line(&gpus[i], key, line + at);
}

static void defaults(void) {
    const double values[FIGURES] = {0, 0, 512, 0, 400, 0, 0, 1410, 4, 16, 16};
    memset(gpus, 0, sizeof gpus);
    strcpy(driver, "580.95");
    strcpy(name, "FAKE A100-SXM4-80GB");
    gpu_count = 4, total_mib = 81920, event_count = rule_count = slow_count = 0;
    for (int i = 0; i < MAX_GPUS; i++)
        for (int f = 0; f < FIGURES; f++) gpus[i].figures[f].low = values[f];
}

static void reload(void) {
    char path[4096], line[512];
    struct stat now;
    snprintf(path, sizeof path, "%s/scenario", folder);
    if (stat(path, &now)) {
        if (!gpu_count) {
            defaults();
            for (int i = 0; i < gpu_count; i++) gpus[i].pinned = 1, gpus[i].scale = 1;
        }
    } else if (now.st_ino != read_version.st_ino || now.st_size != read_version.st_size ||
               memcmp(&now.st_mtim, &read_version.st_mtim, sizeof now.st_mtim)) {
        FILE *file = fopen(path, "r");
        if (!file) return;
        read_version = now;
        defaults();
        while (fgets(line, sizeof line, file)) read_line(line);
        fclose(file);
    }
    if (!*mapped_driver) strcpy(mapped_driver, driver);
}

__attribute__((constructor)) static void find_folder(void) {
    Dl_info self;
    if (dladdr((void *)&find_folder, &self) && strrchr(self.dli_fname, '/'))
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(self.dli_fname, '/') - self.dli_fname), self.dli_fname);
}

/* ---- what real processes do ---- */

static unsigned pinned_to(int pid) {
    static char text[131072];
    char path[64], uuid[32];
    unsigned on = 0, ours = 0;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    text[size > 0 ? size : 0] = 0;
    for (char *entry = text; entry < text + size; entry += strlen(entry) + 1) {
        if (!strncmp(entry, "LD_LIBRARY_PATH=", 16) && strstr(entry, folder)) ours = 1;
        for (int i = 0; i < gpu_count && !strncmp(entry, "CUDA_VISIBLE_DEVICES=", 21); i++) {
            snprintf(uuid, sizeof uuid, "GPU-fa4e%04x", i);
            if (strstr(entry, uuid)) on |= 1u << i;
        }
    }
    return ours ? on : 0; /* another fake on this machine has GPUs of the same names */
}

static void scan(void) {
    static Process before[MAX_PROCS];
    double now = now_s(), passed_s = now - scanned_s;
    int count_before = proc_count, any_pinned = 0, any_follow = 0;
    if (passed_s < 0.4) return;
    for (int i = 0; i < gpu_count; i++) any_pinned |= gpus[i].pinned, any_follow |= gpus[i].follow;
    memcpy(before, procs, sizeof procs);
    proc_count = 0;
    DIR *all = any_pinned || any_follow ? opendir("/proc") : NULL;
    for (struct dirent *entry; all && (entry = readdir(all)) && proc_count < MAX_PROCS;) {
        Process p = {atoi(entry->d_name), 0, 0, 0, 0, 0};
        char path[64], text[1024];
        unsigned long long user, system;
        long pages;
        if (!isdigit(entry->d_name[0])) continue;
        p.session = getsid(p.pid);
        p.on = any_pinned ? pinned_to(p.pid) : 0;
        for (int i = 0; i < gpu_count; i++)
            if (gpus[i].follow && gpus[i].follow == p.session) p.on |= 1u << i;
        if (!p.on) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", p.pid);
        FILE *file = fopen(path, "r");
        size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
        if (file) fclose(file);
        text[size] = 0;
        char *after_name = strrchr(text, ')');
        if (!after_name || sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
                                              "%*d %*d %*d %*u %*u %ld", &user, &system, &pages) != 3) continue;
        p.ticks = (double)(user + system);
        p.rss_mib = pages * (double)sysconf(_SC_PAGESIZE) / MIB;
        for (int i = 0; i < count_before; i++)
            if (before[i].pid == p.pid) p.cores = (p.ticks - before[i].ticks) / sysconf(_SC_CLK_TCK) / passed_s;
        procs[proc_count++] = p;
    }
    if (all) closedir(all);
    scanned_s = now;
}

/* ---- figures ---- */

static double figure(int gpu, int which) {
    const Figure *f = &gpus[gpu].figures[which];
    double sum = 0;
    if (f->period_s > 0)
        return f->low + (f->high - f->low) * (1 - cos(2 * M_PI * now_s() / f->period_s)) / 2;
    if (f->given) return f->low;
    switch (which) {
    case UTIL:
        for (int i = 0; i < proc_count; i++) sum += procs[i].on >> gpu & 1 ? 100 * procs[i].cores : 0;
        return fmin(100, sum);
    case USED:
        for (int i = 0; i < gpus[gpu].listed; i++) sum += fmax(0, gpus[gpu].processes[i].mib);
        for (int i = 0; i < proc_count; i++) sum += procs[i].on >> gpu & 1 ? procs[i].rss_mib * gpus[gpu].scale : 0;
        return fmin(total_mib - figure(gpu, RESERVED), sum);
    case POWER: return 60 + 3.4 * figure(gpu, UTIL);
    case TEMP: return 35 + 0.45 * figure(gpu, UTIL);
    case SM: return 210 + 12 * figure(gpu, UTIL);
    default: return f->low;
    }
}

static void count(const char *function) {
    static Slot *slots;
    static int file = -1;
    char path[4096];
    if (!slots) {
        snprintf(path, sizeof path, "%s/calls", folder);
        file = open(path, O_RDWR);
        slots = file < 0 ? MAP_FAILED : mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (slots == MAP_FAILED) return;
    flock(file, LOCK_EX);
    int i = 0;
    while (i < SLOTS - 1 && *slots[i].name && strcmp(slots[i].name, function)) i++;
    strncpy(slots[i].name, function, sizeof slots[i].name - 1);
    slots[i].calls++;
    flock(file, LOCK_UN);
}

static int index_of(void *device) { return (int)((Gpu *)device - gpus); }

/* What each call does first: counts itself, takes its time, and fails when it has to. */
static int asked(const char *function, void *device) {
    int answer = OK, ms = 0;
    pthread_mutex_lock(&lock);
    count(function);
    reload();
    for (int i = 0; i < slow_count && i < MAX_RULES; i++)
        if (!strcmp(slow[i].function, function)) ms = slow[i].ms;
    for (int i = 0; i < rule_count && i < MAX_RULES; i++)
        if (!strcmp(unsupported[i].function, function)) answer = NOT_SUPPORTED;
    if (!strcmp(driver, "gone")) answer = NOT_LOADED;
    else if (!strcmp(driver, "mismatch") || strcmp(driver, mapped_driver)) answer = MISMATCH;
    else if (!initialized && strncmp(function, "nvmlInit", 8)) answer = UNINITIALIZED;
    else if (device && (index_of(device) < 0 || index_of(device) >= gpu_count)) answer = INVALID;
    else if (device && gpus[index_of(device)].lost) answer = gpus[index_of(device)].lost;
    if (!answer) scan();
    pthread_mutex_unlock(&lock);
    if (ms) pause_ms(ms);
    return answer;
}

static double told(void *device, int which) {
    pthread_mutex_lock(&lock);
    double value = figure(index_of(device), which), now = now_s();
    for (int i = 0; i < gpu_count; i++) energy_j[i] += energy_s ? figure(i, POWER) * (now - energy_s) : 0;
    energy_s = now;
    pthread_mutex_unlock(&lock);
    return value;
}

#define ASKED(device) do { int refused = asked(__func__, device); if (refused) return refused; } while (0)
#define NUMBER(function, expression) \
    int function(void *device, unsigned *value) { ASKED(device); *value = (unsigned)(expression); return OK; }
#define SENSOR(function, which) \
    int function(void *device, int kind, unsigned *value) { ASKED(device); (void)kind; *value = told(device, which); return OK; }

/* ---- NVML ---- */

int nvmlInitWithFlags(unsigned flags) { (void)flags; ASKED(NULL); initialized++; return OK; }
int nvmlShutdown(void) { ASKED(NULL); initialized--; return OK; }

const char *nvmlErrorString(int code) {
    return code == MISMATCH ? "Driver/library version mismatch" : code == LOST ? "GPU is lost" : "FAKE error";
}

static int text(char *to, unsigned size, const char *from) { snprintf(to, size, "%s", from); return OK; }

int nvmlSystemGetDriverVersion(char *to, unsigned size) { ASKED(NULL); return text(to, size, driver); }
int nvmlDeviceGetCount_v2(unsigned *value) { ASKED(NULL); *value = gpu_count; return OK; }
int nvmlDeviceGetName(void *device, char *to, unsigned size) { ASKED(device); return text(to, size, name); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= MAX_GPUS) return INVALID;
    ASKED(&gpus[index]);
    *device = &gpus[index];
    return OK;
}

int nvmlDeviceGetUUID(void *device, char *to, unsigned size) {
    ASKED(device);
    snprintf(to, size, "GPU-fa4e%04x-0000-4000-8000-%012x", index_of(device), index_of(device));
    return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *gpu_and_memory) {
    ASKED(device);
    gpu_and_memory[0] = (unsigned)(told(device, UTIL) + 0.5);
    gpu_and_memory[1] = gpu_and_memory[0] / 2;
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used) {
    ASKED(device);
    if (gpus[index_of(device)].unified) return NOT_SUPPORTED;
    total_free_used[0] = total_mib * MIB;
    total_free_used[2] = (told(device, USED) + told(device, RESERVED)) * MIB;
    total_free_used[1] = total_free_used[0] - total_free_used[2];
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, unsigned long long *version_total_reserved_free_used) {
    unsigned long long *to = version_total_reserved_free_used;
    ASKED(device);
    if ((unsigned)to[0] != 0x02000028) return WRONG_VERSION;
    if (gpus[index_of(device)].unified) return NOT_SUPPORTED;
    to[1] = total_mib * MIB;
    to[2] = told(device, RESERVED) * MIB;
    to[4] = told(device, USED) * MIB;
    to[3] = to[1] - to[2] - to[4];
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    ASKED(device);
    told(device, POWER);
    *mj = energy_j[index_of(device)] * 1000;
    return OK;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *mask) {
    ASKED(device);
    *mask = gpus[index_of(device)].throttle;
    return OK;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *mask) {
    ASKED(device);
    *mask = gpus[index_of(device)].throttle;
    return OK;
}

SENSOR(nvmlDeviceGetTemperature, TEMP)
SENSOR(nvmlDeviceGetClockInfo, SM)
SENSOR(nvmlDeviceGetMaxClockInfo, MAX_SM)
NUMBER(nvmlDeviceGetPowerUsage, 1000 * told(device, POWER))
NUMBER(nvmlDeviceGetEnforcedPowerLimit, 1000 * told(device, LIMIT))
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, told(device, GEN))
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, told(device, WIDTH))
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, told(device, FULL_WIDTH))

/* ---- processes ---- */

typedef struct { unsigned pid; unsigned long long mem; unsigned gi, ci; } ProcessInfo;
typedef struct { unsigned pid; unsigned long long us; unsigned sm, memory, encoder, decoder; } ProcessUse;

static int processes(void *device, int draws, unsigned *size, ProcessInfo *to) {
    const Gpu *gpu = device;
    unsigned found = 0;
    for (int step = 0; step < gpu->listed; step++) {
        const Listed *p = &gpu->processes[step];
        if (p->draws != draws) continue;
        if (to && found < *size)
            to[found] = (ProcessInfo){p->pid, p->mib < 0 ? ~0ull : (unsigned long long)(p->mib * MIB), ~0u, ~0u};
        found++;
    }
    for (int i = 0; i < proc_count && !draws; i++) {
        if (!(procs[i].on >> index_of(device) & 1)) continue;
        if (to && found < *size)
            to[found] = (ProcessInfo){procs[i].pid, procs[i].rss_mib * gpu->scale * MIB, ~0u, ~0u};
        found++;
    }
    int fits = found <= *size && (to || !found);
    *size = found;
    return fits ? OK : TOO_SMALL;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *size, ProcessInfo *to) {
    ASKED(device);
    return processes(device, 0, size, to);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *size, ProcessInfo *to) {
    ASKED(device);
    return processes(device, 1, size, to);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *size, ProcessInfo *to) {
    (void)to;
    ASKED(device);
    *size = 0;
    return OK;
}

int nvmlDeviceGetProcessUtilization(void *device, ProcessUse *to, unsigned *size, unsigned long long since_us) {
    const Gpu *gpu = device;
    unsigned found = 0;
    unsigned long long us = now_s() * 1e6;
    ASKED(device);
    (void)since_us;
    for (int i = 0; i < gpu->listed; i++)
        if (gpu->processes[i].sm >= 0) {
            if (to && found < *size) to[found] = (ProcessUse){gpu->processes[i].pid, us, gpu->processes[i].sm, 0, 0, 0};
            found++;
        }
    for (int i = 0; i < proc_count; i++)
        if (procs[i].on >> index_of(device) & 1) {
            if (to && found < *size) to[found] = (ProcessUse){procs[i].pid, us, fmin(100, 100 * procs[i].cores), 0, 0, 0};
            found++;
        }
    int fits = to && found <= *size;
    *size = found;
    return !found ? NOT_FOUND : fits ? OK : TOO_SMALL;
}

/* ---- events ---- */

typedef struct { void *device; unsigned long long type, data; unsigned gi, ci; } EventData;

int nvmlDeviceGetSupportedEventTypes(void *device, unsigned long long *mask) { ASKED(device); *mask = 0xb; return OK; }

int nvmlEventSetCreate(EventSet **set) {
    ASKED(NULL);
    *set = calloc(1, sizeof **set);
    (*set)->seen = event_count;
    return OK;
}

int nvmlDeviceRegisterEvents(void *device, unsigned long long mask, EventSet *set) {
    ASKED(device);
    set->mask[index_of(device)] |= mask;
    return OK;
}

/* Blocks for its time as the real one does: a wait that returned at once would hide loops that burn a core. */
int nvmlEventSetWait_v2(EventSet *set, EventData *data, unsigned ms) {
    double until_s = now_s() + ms / 1000.0;
    ASKED(NULL);
    do {
        pthread_mutex_lock(&lock);
        reload();
        if (set->seen > event_count) set->seen = event_count;
        Event event = set->seen < event_count ? events[set->seen++ % 256] : (Event){-1, 0, 0};
        int changed = strcmp(driver, mapped_driver);
        pthread_mutex_unlock(&lock);
        if (changed) return MISMATCH;
        if (event.gpu >= 0 && set->mask[event.gpu] & event.type) {
            *data = (EventData){&gpus[event.gpu], event.type, event.data, ~0u, ~0u};
            return OK;
        }
        pause_ms(20);
    } while (now_s() < until_s);
    return TIMED_OUT;
}
