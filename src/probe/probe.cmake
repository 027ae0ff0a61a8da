# Threads for the noise probe, the loader for NVML.
find_package(Threads REQUIRED)
target_link_libraries(kvat_probe PUBLIC Threads::Threads m ${CMAKE_DL_LIBS})
