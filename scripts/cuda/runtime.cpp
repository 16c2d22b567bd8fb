// A CUDA runtime that owns no GPU: it answers what ggml-cuda's host code asks of a device, and reserves address space
// where memory is asked for. Calls that only report success are not here: the build gives each unresolved symbol a body
// that returns 0.
//
// CARDS: "capability:MiB", one a device, parted by commas ("8.9:24576,8.6:12288").
// TRACE: every allocation on a card (`TRACE card CARD BYTES`) and every growth of a pool (`TRACE pool BYTES`) is printed.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

struct Card {
    int major = 8;
    int minor = 9;
    size_t total = 0;
    size_t taken = 0;
};

struct Block {
    size_t size;
    int card;  // -1: pinned host memory
};

std::vector<Card> read_cards() {
    const char * text = getenv("CARDS");
    std::stringstream list(text ? text : "8.9:24576");
    std::vector<Card> cards;
    for (std::string one; std::getline(list, one, ',');) {
        Card card;
        unsigned long long mib = 0;
        if (sscanf(one.c_str(), "%d.%d:%llu", &card.major, &card.minor, &mib) != 3) {
            fprintf(stderr, "CARDS: %s is not capability:MiB\n", one.c_str());
            exit(2);
        }
        card.total = size_t(mib) << 20;
        cards.push_back(card);
    }
    return cards;
}

std::vector<Card> & cards() {
    static std::vector<Card> all = read_cards();
    return all;
}

thread_local int current = 0;
std::mutex guard;
std::unordered_map<void *, Block> blocks;

void trace(const char * what, int card, size_t size) {
    if (getenv("TRACE")) {
        card < 0 ? fprintf(stderr, "TRACE %s %zu\n", what, size) : fprintf(stderr, "TRACE %s %d %zu\n", what, card, size);
    }
}

void * reserve(size_t size) {
    void * at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

cudaError_t take(void ** out, size_t size, int card) {
    const size_t page = 4096;
    size = size < page ? page : (size + page - 1) & ~(page - 1);
    std::lock_guard<std::mutex> lock(guard);
    if (card >= 0 && cards()[card].total - cards()[card].taken < size) {
        return cudaErrorMemoryAllocation;
    }
    *out = reserve(size);
    if (!*out) {
        return cudaErrorMemoryAllocation;
    }
    if (card >= 0) {
        cards()[card].taken += size;
        trace("card", card, size);
    }
    blocks[*out] = {size, card};
    return cudaSuccess;
}

cudaError_t release(void * at) {
    std::lock_guard<std::mutex> lock(guard);
    auto found = blocks.find(at);
    if (found != blocks.end()) {
        if (found->second.card >= 0) {
            cards()[found->second.card].taken -= found->second.size;
        }
        munmap(at, found->second.size);
        blocks.erase(found);
    }
    return cudaSuccess;
}

// Opt-in shared memory a block, CUDA C++ programming guide, technical specifications by compute capability.
size_t shared_memory(const Card & card) {
    const int cc = 10 * card.major + card.minor;
    const size_t kib = cc < 70 ? 48 : cc < 75 ? 96 : cc == 75 ? 64 : (cc == 80 || cc == 87) ? 163 : (cc == 90 || cc == 100 || cc == 103) ? 227 : 99;
    return kib << 10;
}

template <typename T> cudaError_t handle(T * out) {
    static long next = 0;
    std::lock_guard<std::mutex> lock(guard);
    *out = reinterpret_cast<T>(++next * 16);  // a name, never followed
    return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int * count) { *count = int(cards().size()); return *count ? cudaSuccess : cudaErrorNoDevice; }
cudaError_t cudaGetDevice(int * device) { *device = current; return cudaSuccess; }
cudaError_t cudaSetDevice(int device) { current = device; return cudaSuccess; }

cudaError_t cudaGetDeviceProperties_v2(cudaDeviceProp * out, int device) {
    const Card & card = cards()[device];
    *out = {};
    snprintf(out->name, sizeof out->name, "Card of capability %d.%d", card.major, card.minor);
    out->major = card.major;
    out->minor = card.minor;
    out->totalGlobalMem = card.total;
    out->warpSize = 32;
    out->multiProcessorCount = 128;
    out->maxThreadsPerBlock = 1024;
    out->maxThreadsPerMultiProcessor = 1536;
    out->regsPerBlock = 1 << 16;
    out->sharedMemPerBlock = 48 << 10;
    out->sharedMemPerBlockOptin = shared_memory(card);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int * value, cudaDeviceAttr asked, int) {
    *value = asked == cudaDevAttrCooperativeLaunch;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char * text, int size, int device) {
    snprintf(text, size, "0000:%02x:00.0", device + 1);
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int * can, int, int) { *can = 0; return cudaSuccess; }
const char * cudaGetErrorString(cudaError_t error) { return error == cudaErrorMemoryAllocation ? "out of memory" : "no error"; }

cudaError_t cudaMemGetInfo(size_t * free_, size_t * total) {
    std::lock_guard<std::mutex> lock(guard);
    const Card & card = cards()[current];
    *total = card.total;
    *free_ = card.total - card.taken;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void ** out, size_t size) { return take(out, size, current); }
cudaError_t cudaMallocManaged(void ** out, size_t size, unsigned) { return take(out, size, current); }
cudaError_t cudaMallocHost(void ** out, size_t size) { return take(out, size, -1); }
cudaError_t cudaHostAlloc(void ** out, size_t size, unsigned) { return take(out, size, -1); }
cudaError_t cudaHostGetDevicePointer(void ** out, void * host, unsigned) { *out = host; return cudaSuccess; }
cudaError_t cudaFree(void * at) { return release(at); }
cudaError_t cudaFreeHost(void * at) { return release(at); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t * out, unsigned) { return handle(out); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t * out, unsigned) { return handle(out); }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t * out) { return handle(out); }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t * out, cudaGraph_t, unsigned long long) { return handle(out); }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus * out) { *out = cudaStreamCaptureStatusNone; return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes * out, const void *) {
    *out = {};
    out->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int * blocks_, const void *, int, size_t, unsigned) { *blocks_ = 2; return cudaSuccess; }
int cublasCreate_v2(void ** out) { return handle(out); }

CUresult cuGetErrorString(CUresult, const char ** text) { *text = "no error"; return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice * out, int device) { *out = device; return CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int * value, CUdevice_attribute, CUdevice) { *value = 1; return CUDA_SUCCESS; }  // virtual memory
CUresult cuMemGetAllocationGranularity(size_t * out, const CUmemAllocationProp *, CUmemAllocationGranularity_flags) { *out = size_t(2) << 20; return CUDA_SUCCESS; }
CUresult cuMemAddressReserve(CUdeviceptr * out, size_t size, size_t, CUdeviceptr, unsigned long long) {
    *out = reinterpret_cast<CUdeviceptr>(reserve(size));
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemAddressFree(CUdeviceptr at, size_t size) { munmap(reinterpret_cast<void *>(at), size); return CUDA_SUCCESS; }
CUresult cuMemCreate(CUmemGenericAllocationHandle * out, size_t size, const CUmemAllocationProp *, unsigned long long) {
    *out = 1;
    trace("pool", -1, size);
    return CUDA_SUCCESS;
}

}  // extern "C"
