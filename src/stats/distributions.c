// Student and normal distributions: probabilities and quantiles.
// Knows nothing of samples; accurate in the tails, because confidences close to certainty are compared there.
#include <math.h>

#include "kvat/stats.h"

static const double PI = 3.14159265358979323846;

// Continued fraction of the incomplete beta function by Lentz's method (Abramowitz and Stegun 26.5.8).
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double result = d;
    for (int m = 1; m <= 10000; m++) {
        double step = 1;
        for (int odd = 0; odd < 2; odd++) {
            const double term = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                                    : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            if (fabs(c) < tiny) c = tiny;
            step = c * d;
            result *= step;
        }
        if (fabs(step - 1) < 4e-16) break;
    }
    return result;
}

// Γ(a + ½) / Γ(a). From 30 on by its series (DLMF 5.11.13): the difference of two large logarithms would lose digits.
static double gamma_half_ratio(double a) {
    if (a < 30) return tgamma(a + 0.5) / tgamma(a);
    const double r = 1 / (a * a);
    return sqrt(a) * exp((-1.0 / 8 + r * (1.0 / 192 - r * (1.0 / 640 - r * 17 / 14336))) / a);
}

// Regularised incomplete beta I_x(a, ½), with y = 1 − x given apart so that neither end loses digits.
static double incomplete_beta_half(double a, double x, double y) {
    if (x <= 0) return 0;
    if (y <= 0) return 1;
    // x^a: through log1p when x is near 1, where a is large and log(x) would be rounded away
    const double power = exp(a * (y < 0.5 ? log1p(-y) : log(x)));
    const double front = gamma_half_ratio(a) / sqrt(PI) * power * sqrt(y);
    if (x < (a + 1) / (a + 2.5)) return front * beta_fraction(a, 0.5, x) / a;
    return 1 - front * beta_fraction(0.5, a, y) / 0.5;
}

// P(T > t), t ≥ 0.
static double student_tail(double t, double dof) {
    if (isinf(t)) return 0;
    const double square = t * t, whole = dof + square;
    if (isinf(square)) return 0.5 * incomplete_beta_half(dof / 2, dof / t / t, 1);
    return 0.5 * incomplete_beta_half(dof / 2, dof / whole, square / whole);
}

static double normal_tail(double x) {
    return 0.5 * erfc(x * 0.70710678118654752440);
}

double kvat_student_cdf(double t, double dof) {
    if (isnan(t) || !(dof > 0)) return NAN;
    if (isinf(dof)) return normal_tail(-t);
    return t < 0 ? student_tail(-t, dof) : 1 - student_tail(t, dof);
}

// A start within 4.5e-4 (Abramowitz and Stegun 26.2.23), then Halley steps on the tail, each tripling the digits.
static double normal_upper_quantile(double tail) {
    const double r = sqrt(-2 * log(tail));
    double x = r - (2.515517 + r * (0.802853 + r * 0.010328)) / (1 + r * (1.432788 + r * (0.189269 + r * 0.001308)));
    for (int i = 0; i < 3; i++) {
        const double density = 0.39894228040143267794 * exp(-x * x / 2);
        const double step = (normal_tail(x) - tail) / density;
        x += step / (1 - x * step / 2);
    }
    return x;
}

double kvat_normal_quantile(double p) {
    if (!(p > 0 && p < 1)) return NAN;
    if (p == 0.5) return 0;
    return p < 0.5 ? -normal_upper_quantile(p) : normal_upper_quantile(1 - p);
}

static double student_density(double t, double dof) {
    return gamma_half_ratio(dof / 2) / sqrt(dof * PI) * exp(-0.5 * (dof + 1) * log1p(t / dof * t));
}

// Newton steps on the logarithm of the tail, which is nearly straight far out, kept inside a bracket by bisection.
static double student_upper_quantile(double tail, double dof) {
    double low = 0, high = 1;
    while (student_tail(high, dof) > tail && high < 1e300) {
        low = high;
        high *= 8;
    }
    double t = low + (high - low) / 2;
    for (int i = 0; i < 200; i++) {
        const double here = student_tail(t, dof);
        if (here > tail)
            low = t;
        else
            high = t;
        double next = t + here / student_density(t, dof) * log(here / tail);
        if (!(next > low && next < high)) next = low + (high - low) / 2;
        if (fabs(next - t) <= 1e-15 * t) break;
        t = next;
    }
    return t;
}

double kvat_student_quantile(double p, double dof) {
    if (!(p > 0 && p < 1) || !(dof > 0)) return NAN;
    if (isinf(dof)) return kvat_normal_quantile(p);
    if (p == 0.5) return 0;
    return p < 0.5 ? -student_upper_quantile(p, dof) : student_upper_quantile(1 - p, dof);
}
