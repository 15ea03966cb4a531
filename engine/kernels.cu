// Two kernels of a solver step for NVRTC, in half precision: fp16, or bf16 where BF16 is defined. No headers: asm converts.

#ifdef BF16
__device__ __forceinline__ float up(unsigned short u) { return __uint_as_float(((unsigned)u) << 16); }
__device__ __forceinline__ unsigned short down(float f) {
    unsigned short u; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(u) : "f"(f)); return u;
}
#else
__device__ __forceinline__ float up(unsigned short u) {
    float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(u)); return f;
}
__device__ __forceinline__ unsigned short down(float f) {
    unsigned short u; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(u) : "f"(f)); return u;
}
#endif

// The first `heads` heads of q and of k turned in place. A thread: the pairs (i, i + 32) and (i + 1, i + 33) of one head.
extern "C" __global__ void rope(unsigned short* x, const float* cos, const float* sin,
                                int tokens, int padded, int heads, int part_width, int row_width) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    int pair = at & 15, head = (at >> 4) % (2 * heads), token = (at >> 4) / (2 * heads);
    if (token >= tokens) return;
    int part = head / heads, frame = token % padded;
    long long start = (long long)token * row_width + part * part_width + (head - part * heads) * 64;
    unsigned* a = (unsigned*)(x + start) + pair;
    unsigned* b = a + 16;
    float2 c = ((const float2*)(cos + frame * 32))[pair], s = ((const float2*)(sin + frame * 32))[pair];
    unsigned u = *a, v = *b;
    float a0 = up(u & 0xffff), a1 = up(u >> 16), b0 = up(v & 0xffff), b1 = up(v >> 16);
    *a = down(a0 * c.x - b0 * s.x) | ((unsigned)down(a1 * c.y - b1 * s.y) << 16);
    *b = down(b0 * c.x + a0 * s.x) | ((unsigned)down(b1 * c.y + a1 * s.y) << 16);
}

// Of all threads of a block, which are whole warps.
__device__ __forceinline__ float sum_of_row(float sum) {
    for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(0xffffffff, sum, o);
    __shared__ float sums[32];
    __syncthreads();  // who is late may still read those of the call before
    if (!(threadIdx.x & 31)) sums[threadIdx.x >> 5] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < blockDim.x >> 5; i++) sum += sums[i];
    return sum;
}

// h += gate * y; out = norm(h) * scale + shift. One block a row, four values a thread: dim = 4 * blockDim.x.
extern "C" __global__ void gated_norm(unsigned short* h, const unsigned short* y, const unsigned short* gate,
                                      const unsigned short* scale, const unsigned short* shift,
                                      unsigned short* out, int dim) {
    int column = threadIdx.x * 4;
    long long at = (long long)blockIdx.x * dim + column;
    ushort4 hs = *(ushort4*)(h + at), ys = *(const ushort4*)(y + at), g = *(const ushort4*)(gate + column);
    float v[4] = {up(hs.x) + up(g.x) * up(ys.x), up(hs.y) + up(g.y) * up(ys.y),
                  up(hs.z) + up(g.z) * up(ys.z), up(hs.w) + up(g.w) * up(ys.w)};
    ushort4 kept = {down(v[0]), down(v[1]), down(v[2]), down(v[3])};
    *(ushort4*)(h + at) = kept;
    float mean = sum_of_row(v[0] + v[1] + v[2] + v[3]) / dim;
    // Not the mean of squares less the mean's square: of rows far from zero nothing would be left of it.
    for (int i = 0; i < 4; i++) v[i] -= mean;
    float inverse = rsqrtf(sum_of_row(v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + v[3] * v[3]) / dim + 1e-6f);
    ushort4 sc = *(const ushort4*)(scale + column), sh = *(const ushort4*)(shift + column);
    ushort4 result = {down(v[0] * inverse * up(sc.x) + up(sh.x)),
                      down(v[1] * inverse * up(sc.y) + up(sh.y)),
                      down(v[2] * inverse * up(sc.z) + up(sh.z)),
                      down(v[3] * inverse * up(sc.w) + up(sh.w))};
    *(ushort4*)(out + at) = result;
}
