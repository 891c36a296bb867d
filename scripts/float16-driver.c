/*
 * Mesa's lavapipe, a Vulkan driver that computes on the processor, with features that WebGPU asks every driver for and no program
 * of the tests uses: indexing arrays of images. It has WebGPU's shader-f16, which SwiftShader lacks. What is asked of this driver is
 * passed on to lavapipe, but that it claims those features, and takes them out of what a device is created with.
 *
 * Compiled by software-adapter.setup.ts with -DLAVAPIPE="its library".
 */
#include <dlfcn.h>
#include <string.h>
#include <vulkan/vulkan.h>
#include <vulkan/vk_icd.h>

static PFN_vkGetInstanceProcAddr lavapipe;
static PFN_GetPhysicalDeviceProcAddr lavapipe_physical;
static PFN_vkNegotiateLoaderICDInterfaceVersion lavapipe_version;
static PFN_vkGetPhysicalDeviceFeatures get_features;
static PFN_vkGetPhysicalDeviceFeatures2 get_features2;
static PFN_vkCreateDevice create_device;

__attribute__((constructor)) static void load(void) {
  void *library = dlopen(LAVAPIPE, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return;
  lavapipe = (PFN_vkGetInstanceProcAddr)dlsym(library, "vk_icdGetInstanceProcAddr");
  lavapipe_physical = (PFN_GetPhysicalDeviceProcAddr)dlsym(library, "vk_icdGetPhysicalDeviceProcAddr");
  lavapipe_version = (PFN_vkNegotiateLoaderICDInterfaceVersion)dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
}

static void set_claimed(VkPhysicalDeviceFeatures *features, VkBool32 value) {
  features->shaderSampledImageArrayDynamicIndexing = value;
  features->shaderStorageImageArrayDynamicIndexing = value;
}

static VKAPI_ATTR void VKAPI_CALL claim(VkPhysicalDevice device, VkPhysicalDeviceFeatures *features) {
  get_features(device, features);
  set_claimed(features, VK_TRUE);
}

static VKAPI_ATTR void VKAPI_CALL claim2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *features) {
  get_features2(device, features);
  set_claimed(&features->features, VK_TRUE);
}

static VKAPI_ATTR VkResult VKAPI_CALL create(VkPhysicalDevice device, const VkDeviceCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkDevice *created) {
  if (info->pEnabledFeatures != NULL) set_claimed((VkPhysicalDeviceFeatures *)info->pEnabledFeatures, VK_FALSE);
  for (VkBaseOutStructure *next = (VkBaseOutStructure *)info->pNext; next != NULL; next = next->pNext)
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2)
      set_claimed(&((VkPhysicalDeviceFeatures2 *)next)->features, VK_FALSE);
  return create_device(device, info, allocator, created);
}

static PFN_vkVoidFunction instead(const char *name, PFN_vkVoidFunction own) {
  if (own == NULL) return NULL;
  if (strcmp(name, "vkGetPhysicalDeviceFeatures") == 0) {
    get_features = (PFN_vkGetPhysicalDeviceFeatures)own;
    return (PFN_vkVoidFunction)claim;
  }
  if (strcmp(name, "vkGetPhysicalDeviceFeatures2") == 0 || strcmp(name, "vkGetPhysicalDeviceFeatures2KHR") == 0) {
    get_features2 = (PFN_vkGetPhysicalDeviceFeatures2)own;
    return (PFN_vkVoidFunction)claim2;
  }
  if (strcmp(name, "vkCreateDevice") == 0) {
    create_device = (PFN_vkCreateDevice)own;
    return (PFN_vkVoidFunction)create;
  }
  return own;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vk_icdGetInstanceProcAddr(VkInstance instance, const char *name) {
  return lavapipe == NULL ? NULL : instead(name, lavapipe(instance, name));
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vk_icdGetPhysicalDeviceProcAddr(VkInstance instance, const char *name) {
  return lavapipe_physical == NULL ? NULL : instead(name, lavapipe_physical(instance, name));
}

VKAPI_ATTR VkResult VKAPI_CALL vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  return lavapipe_version == NULL ? VK_ERROR_INCOMPATIBLE_DRIVER : lavapipe_version(version);
}
