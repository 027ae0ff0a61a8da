# LAPACKE for the search. Where the reference library is there as archives, it goes into ours: then no other BLAS, and no
# number of threads, can change a bit of a decision after the build, and a stored run is resumed exactly. Elsewhere the
# system's library is used, and decisions repeat for as long as that stays the same.
include(CheckCSourceCompiles)
find_library(KVAT_LAPACKE_ARCHIVE liblapacke.a)
find_library(KVAT_LAPACK_ARCHIVE NAMES liblapack_pic.a)
find_library(KVAT_BLAS_ARCHIVE NAMES libblas.a PATH_SUFFIXES blas)
find_library(KVAT_FORTRAN_LIBRARY NAMES libgfortran.so.5 gfortran)
mark_as_advanced(KVAT_LAPACKE_ARCHIVE KVAT_LAPACK_ARCHIVE KVAT_BLAS_ARCHIVE KVAT_FORTRAN_LIBRARY)
set(KVAT_LAPACK_LIBRARIES ${KVAT_LAPACKE_ARCHIVE} ${KVAT_LAPACK_ARCHIVE} ${KVAT_BLAS_ARCHIVE} ${KVAT_FORTRAN_LIBRARY})

# The archives must be fit for a shared library.
if(NOT KVAT_LAPACK_LIBRARIES MATCHES NOTFOUND)
  set(CMAKE_REQUIRED_FLAGS -fPIC)
  set(CMAKE_REQUIRED_LINK_OPTIONS -shared -Wl,-z,defs)
  set(CMAKE_REQUIRED_LIBRARIES ${KVAT_LAPACK_LIBRARIES} m)
  check_c_source_compiles("
    #include <lapacke.h>
    int kvat_uses(double *a, double *b);
    int kvat_uses(double *a, double *b) {
      return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', 1, a, 1) + LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', 1, a, 1) +
             LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', 1, 1, a, 1, b, 1) +
             LAPACKE_dtrtrs_work(LAPACK_COL_MAJOR, 'L', 'N', 'N', 1, 1, a, 1, b, 1);
    }" KVAT_LAPACK_FROM_ARCHIVES)
  unset(CMAKE_REQUIRED_FLAGS)
  unset(CMAKE_REQUIRED_LINK_OPTIONS)
  unset(CMAKE_REQUIRED_LIBRARIES)
endif()
if(NOT KVAT_LAPACK_FROM_ARCHIVES)
  message(STATUS "No archives of the reference LAPACK: using the system's, whose replacement may change decisions")
  pkg_check_modules(LAPACKE REQUIRED lapacke)
  set(KVAT_LAPACK_LIBRARIES ${LAPACKE_LINK_LIBRARIES})
endif()
add_library(kvat_lapack INTERFACE)
target_link_libraries(kvat_lapack INTERFACE ${KVAT_LAPACK_LIBRARIES})
